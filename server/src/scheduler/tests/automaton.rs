//! A constraint over the first eight of the fake model's ids: what may follow depends on a state and the last token.

use super::fake_model::{END, VOCABULARY};
use crate::request::{Constrain, Constraint, ConstraintError, ConstraintState};

/// Ids that texts of an automaton are made of, end tokens among them.
pub const IDS: u32 = 8;

/// A finite automaton. Of a state's eight bits, the one of an id tells whether the id may follow.
#[derive(Debug, Clone)]
pub struct Automaton {
    /// Ids that may follow in each state. There is at least one state.
    pub states: Vec<u8>,
}

impl Automaton {
    pub fn constraint(self) -> Constraint {
        Constraint::new(self)
    }
}

impl Constrain for Automaton {
    fn start(&self) -> Box<dyn ConstraintState> {
        Box::new(Reached { automaton: self.clone(), state: 0 })
    }
}

#[derive(Debug, Clone)]
struct Reached {
    automaton: Automaton,
    state: usize,
}

impl Reached {
    fn allows(&self, id: u32) -> bool {
        id < IDS && self.automaton.states[self.state] >> id & 1 == 1
    }
}

impl ConstraintState for Reached {
    fn fork(&self) -> Box<dyn ConstraintState> {
        Box::new(self.clone())
    }

    fn write_allowed(&mut self, words: &mut Vec<u32>) -> Result<(), ConstraintError> {
        words.clear();
        words.resize(VOCABULARY.div_ceil(32) as usize, 0);
        words[0] = self.automaton.states[self.state].into();
        Ok(())
    }

    fn advance(&mut self, token: u32) -> Result<(), ConstraintError> {
        if !self.allows(token) {
            return Err(ConstraintError { reason: format!("{token} may not follow in {}", self.state) });
        }
        self.state = (3 * self.state + token as usize) % self.automaton.states.len();
        Ok(())
    }

    fn list_forced(&mut self, out: &mut Vec<u32>) {
        // One of a circle of such tokens is enough: what follows it is asked for again.
        let mut allowed = (0..IDS).filter(|&id| self.allows(id));
        if let (Some(only), None) = (allowed.next(), allowed.next())
            && !END.contains(&only)
        {
            out.push(only);
        }
    }
}
