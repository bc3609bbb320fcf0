//! Questions of a search to whoever runs it.
//!
//! Implemented by the scheduler, and by tests.

use crate::scheduler::event::HeldScore;

/// Knows more of the branches of a search than their tokens. Branches go by the indices that they had before the step.
pub trait Host {
    /// Whether a token after a branch ends it.
    fn ends(&self, branch: usize, token: u32) -> bool;

    /// Most tokens that may follow a token after a branch: those of the longest target. Asked in exact searches.
    fn longest(&self, branch: usize, token: u32) -> usize;

    /// A token after a branch is kept. Returns the place of its log-probabilities, where they are wanted.
    fn keep(&mut self, branch: usize, token: u32) -> Option<HeldScore>;
}
