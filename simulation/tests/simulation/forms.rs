//! Forms of answers: which tokens may follow depends on all tokens before.

use simulation::request::{Constrain, Constraint, ConstraintError, ConstraintState};

use super::device::{END, VOCABULARY};
use super::dice::mix;

/// Most tokens without a choice that are listed at once.
const MOST_FORCED: usize = 8;

/// The form of a request's answers.
#[derive(Debug, Clone, Copy)]
pub struct Form {
    seed: u64,
}

/// Where a text stands in its form.
#[derive(Debug, Clone, Copy)]
pub struct Standing {
    form: Form,
    state: u64,
}

impl Form {
    pub const fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// Before the first token.
    pub fn start(self) -> Standing {
        Standing { form: self, state: mix(self.seed, 0) }
    }

    pub fn constraint(self) -> Constraint {
        Constraint::new(self)
    }

    /// Whether its limits may be reached before a text ends.
    pub const fn may_break(self) -> bool {
        self.seed.is_multiple_of(32)
    }
}

impl Standing {
    /// The ids that may follow, at least one, as bits.
    pub fn allowed(self) -> u64 {
        let choices = mix(self.state, 1);
        let one = 1 << (2 + (choices >> 32) % (u64::from(VOCABULARY) - 2));
        match choices % 8 {
            0..3 => one,
            3 => one | 1 << END,
            4 => 1 << END,
            // Not the first token of a target.
            _ => one | mix(self.state, 2) & !1,
        }
    }

    /// The state after a token.
    pub fn after(self, token: u32) -> Self {
        Self { state: mix(self.state, token.into()), ..self }
    }

    fn breaks(self) -> bool {
        self.form.may_break() && mix(self.state, 3).is_multiple_of(8)
    }
}

/// The allowed id that comes first from the wanted one on, in a circle.
pub fn choose(allowed: u64, wanted: u32) -> Option<u32> {
    let turned = allowed.rotate_right(wanted);
    (turned != 0).then(|| (wanted + turned.trailing_zeros()) % VOCABULARY)
}

impl Constrain for Form {
    fn start(&self) -> Box<dyn ConstraintState> {
        Box::new(Form::start(*self))
    }
}

impl ConstraintState for Standing {
    fn fork(&self) -> Box<dyn ConstraintState> {
        Box::new(*self)
    }

    fn write_allowed(&mut self, words: &mut Vec<u32>) -> Result<(), ConstraintError> {
        if self.breaks() {
            return Err(ConstraintError { reason: "the form's limits are reached".to_owned() });
        }
        let allowed = self.allowed();
        words.clear();
        words.extend([allowed as u32, (allowed >> 32) as u32]);
        Ok(())
    }

    fn advance(&mut self, token: u32) -> Result<(), ConstraintError> {
        assert!(self.allowed() >> token & 1 == 1, "{token} may not follow");
        *self = self.after(token);
        Ok(())
    }

    fn list_forced(&mut self, out: &mut Vec<u32>) {
        let mut standing = *self;
        for _ in 0..MOST_FORCED {
            let allowed = standing.allowed();
            if allowed.count_ones() > 1 || allowed == 1 << END {
                return;
            }
            out.push(allowed.trailing_zeros());
            standing = standing.after(allowed.trailing_zeros());
        }
    }
}
