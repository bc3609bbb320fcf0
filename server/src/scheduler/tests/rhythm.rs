//! A constraint over the fake model's ids: its tokens go in a rhythm, some of them without a choice.

use super::fake_model::{END, VOCABULARY};
use crate::request::{Constrain, Constraint, ConstraintError, ConstraintState};

/// Bars of `bar` tokens each: the first of a bar is forced, and the others are of one parity each. An answer may end
/// after a bar of several tokens, and has to end after the last bar.
#[derive(Debug, Clone, Copy)]
pub struct Rhythm {
    pub bar: u32,
    pub bars: u32,
}

impl Rhythm {
    pub fn constraint(self) -> Constraint {
        Constraint::new(self)
    }
}

impl Constrain for Rhythm {
    fn start(&self) -> Box<dyn ConstraintState> {
        Box::new(Beat { rhythm: *self, tokens: 0 })
    }
}

#[derive(Debug, Clone, Copy)]
struct Beat {
    rhythm: Rhythm,
    tokens: u32,
}

impl Beat {
    fn allows(self, id: u32) -> bool {
        let Rhythm { bar, bars } = self.rhythm;
        let (done, beat) = (self.tokens / bar, self.tokens % bar);
        let is_end = END.contains(&id);
        match beat {
            0 if done >= bars => is_end,
            0 if bar > 1 && self.tokens > 0 && is_end => true,
            0 => id == 5 + done % 7,
            _ => !is_end && id % 2 == beat % 2,
        }
    }

    /// The only token that is allowed and no end, if the answer cannot end here.
    fn only(self) -> Option<u32> {
        let mut allowed = (0..VOCABULARY).filter(|&id| self.allows(id));
        let only = allowed.next()?;
        (allowed.next().is_none() && !END.contains(&only)).then_some(only)
    }
}

impl ConstraintState for Beat {
    fn fork(&self) -> Box<dyn ConstraintState> {
        Box::new(*self)
    }

    fn write_allowed(&mut self, words: &mut Vec<u32>) -> Result<(), ConstraintError> {
        words.clear();
        words.resize(VOCABULARY.div_ceil(32) as usize, 0);
        (0..VOCABULARY).filter(|&id| self.allows(id)).for_each(|id| words[id as usize / 32] |= 1 << (id % 32));
        Ok(())
    }

    fn advance(&mut self, token: u32) -> Result<(), ConstraintError> {
        if !self.allows(token) {
            return Err(ConstraintError { reason: format!("{token} is out of rhythm at {}", self.tokens) });
        }
        self.tokens += u32::from(!END.contains(&token));
        Ok(())
    }

    fn list_forced(&mut self, out: &mut Vec<u32>) {
        let mut beat = *self;
        while let Some(only) = beat.only() {
            out.push(only);
            beat.tokens += 1;
        }
    }
}

/// A constraint whose first mask cannot be found.
#[derive(Debug, Clone, Copy)]
pub struct Broken;

impl Broken {
    pub fn constraint(self) -> Constraint {
        Constraint::new(self)
    }
}

impl Constrain for Broken {
    fn start(&self) -> Box<dyn ConstraintState> {
        Box::new(*self)
    }
}

impl ConstraintState for Broken {
    fn fork(&self) -> Box<dyn ConstraintState> {
        Box::new(*self)
    }

    fn write_allowed(&mut self, _: &mut Vec<u32>) -> Result<(), ConstraintError> {
        Err(ConstraintError { reason: "broken".to_owned() })
    }

    fn advance(&mut self, _: u32) -> Result<(), ConstraintError> {
        Ok(())
    }

    fn list_forced(&mut self, _: &mut Vec<u32>) {}
}
