//! A choice among given targets over the fake model's ids.

use std::collections::BTreeSet;

use super::fake_model::{END, VOCABULARY};
use crate::request::{Constrain, Constraint, ConstraintError, ConstraintState};

/// Targets, each of which an end token follows.
#[derive(Debug, Clone)]
pub struct OneOf(pub Vec<Vec<u32>>);

impl OneOf {
    pub fn constraint(self) -> Constraint {
        Constraint::new(self)
    }
}

#[derive(Debug, Clone)]
struct Begun {
    targets: Vec<Vec<u32>>,
    tokens: Vec<u32>,
}

impl Constrain for OneOf {
    fn start(&self) -> Box<dyn ConstraintState> {
        Box::new(Begun { targets: self.0.clone(), tokens: Vec::new() })
    }

    fn longest(&self) -> Option<usize> {
        Begun { targets: self.0.clone(), tokens: Vec::new() }.longest()
    }
}

impl Begun {
    fn open(&self) -> impl Iterator<Item = &Vec<u32>> {
        self.targets.iter().filter(|target| target.starts_with(&self.tokens))
    }

    fn longest(&self) -> Option<usize> {
        self.open().map(|target| target.len() + 1 - self.tokens.len()).max()
    }
}

impl ConstraintState for Begun {
    fn fork(&self) -> Box<dyn ConstraintState> {
        Box::new(self.clone())
    }

    fn write_allowed(&mut self, words: &mut Vec<u32>) -> Result<(), ConstraintError> {
        words.clear();
        words.resize(VOCABULARY.div_ceil(32) as usize, 0);
        for target in self.open() {
            let next = target.get(self.tokens.len()).copied().unwrap_or(END[0]);
            words[next as usize / 32] |= 1 << (next % 32);
        }
        Ok(())
    }

    fn advance(&mut self, token: u32) -> Result<(), ConstraintError> {
        self.tokens.push(token);
        Ok(())
    }

    fn longest_after(&self, token: u32) -> Option<usize> {
        let tokens = [&self.tokens[..], &[token]].concat();
        Self { targets: self.targets.clone(), tokens }.longest()
    }

    fn list_forced(&mut self, out: &mut Vec<u32>) {
        let mut begun = self.clone();
        loop {
            let at = begun.tokens.len();
            let next: BTreeSet<Option<u32>> = begun.open().map(|target| target.get(at).copied()).collect();
            let (Some(Some(only)), 1) = (next.first().copied(), next.len()) else { return };
            out.push(only);
            begun.tokens.push(only);
        }
    }
}
