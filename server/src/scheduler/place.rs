//! Places in a request's constraint, one for each branch, and the masks that are to be found there.
//!
//! A mask takes longer than a step may wait, so a plan only asks for it: threads beside the step find it before
//! anything is drawn.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kernels::{DrawRules, RuleId, TokenMask};

use super::sequence::Request;
use crate::request::{ConstraintError, ConstraintState};

/// Where a branch stands in its constraint. Clones are the same place.
#[derive(Debug, Clone)]
pub struct Place(Arc<Mutex<Box<dyn ConstraintState>>>);

impl Place {
    /// Where a state stands.
    pub fn new(state: Box<dyn ConstraintState>) -> Self {
        Self(Arc::new(Mutex::new(state)))
    }

    /// A place from which another branch goes on.
    pub fn fork(&self) -> Self {
        Self::new(self.state().fork())
    }

    /// Goes on by a token.
    ///
    /// # Errors
    /// When the token was not allowed.
    pub fn advance(&self, token: u32) -> Result<(), ConstraintError> {
        self.state().advance(token)
    }

    /// Most tokens that may come after a token; 0 where the token was not allowed.
    pub fn longest_after(&self, token: u32) -> usize {
        let mut state = self.state().fork();
        let is_allowed = state.advance(token).is_ok();
        state.longest().filter(|_| is_allowed).unwrap_or(0)
    }

    /// Tokens that come next because there is no other choice.
    pub fn forced(&self) -> Vec<u32> {
        let mut tokens = Vec::new();
        self.state().list_forced(&mut tokens);
        tokens
    }

    /// A state that panicked under a lock has said so; what is left of it gives an error or a mask.
    fn state(&self) -> MutexGuard<'_, Box<dyn ConstraintState>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A mask that a rule of a plan needs.
#[derive(Debug, Clone)]
pub struct MaskAsk {
    pub(super) rule: RuleId,
    pub(super) place: Place,
    pub(super) request: Arc<Request>,
    /// Whether end tokens are to wait for `min_tokens`.
    pub(super) holds_ends_back: bool,
}

impl MaskAsk {
    /// Finds the mask. Where nothing but the end is left, the answer ends before `min_tokens`.
    ///
    /// # Errors
    /// When the constraint's limits are reached; no token is allowed then.
    pub fn find(&self, words: &mut Vec<u32>) -> Result<(), ConstraintError> {
        let found = self.place.state().write_allowed(words);
        if found.is_err() {
            words.fill(0);
        }
        if self.holds_ends_back {
            let held_back = self.request.ends.held_back();
            let is_held = |id: u32| held_back.contains(&id);
            let goes_on = (0..).zip(words.iter()).any(|(word, &bits)| {
                bits != 0 && (0..u32::BITS).any(|bit| bits >> bit & 1 == 1 && !is_held(word * u32::BITS + bit))
            });
            if goes_on {
                for &id in held_back {
                    words.get_mut(id as usize / 32).into_iter().for_each(|word| *word &= !(1 << (id % 32)));
                }
            }
        }
        found
    }

    /// Gives the rule its mask.
    pub fn settle(&self, words: &[u32], rules: &mut DrawRules) {
        rules.narrow(self.rule, TokenMask { words });
    }
}
