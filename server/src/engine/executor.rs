//! What the engine thread needs of a model: run a plan, read a score.
//!
//! Implemented by [`super::ModelExecutor`] and by fakes in tests. Knows plans and token ids only.

use kernels::{ScoreAsk, TokenScore};

use crate::scheduler::Plan;

/// A step could not be run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the step could not be run: {reason}")]
pub struct ExecutorError {
    /// What the device said.
    pub reason: String,
}

/// Runs plans, one after the other.
pub trait Executor: Send {
    /// Runs a plan and appends one token to `chosen` for each of its `sampled` rows, in their order; `None` where the
    /// logits were not numbers.
    ///
    /// # Errors
    /// When the device failed; the plan then had no effect that matters.
    fn run(&mut self, plan: &Plan, chosen: &mut Vec<Option<u32>>) -> Result<(), ExecutorError>;

    /// Log-probabilities from rows of the last plan's logits, in the order asked.
    fn score(&self, asked: &[ScoreAsk], out: &mut Vec<TokenScore>);
}
