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

/// Runs plans, one after the other: [`Self::encode`], [`Self::decode`], [`Self::finish`].
pub trait Executor: Send {
    /// Starts the encoder's part of a plan, if it has one.
    ///
    /// # Errors
    /// When the device failed; the plan then had no effect that matters.
    fn encode(&mut self, plan: &Plan) -> Result<(), ExecutorError>;

    /// Starts the decoder's part, if it has one, and the draws.
    ///
    /// # Errors
    /// As [`Self::encode`].
    fn decode(&mut self, plan: &Plan) -> Result<(), ExecutorError>;

    /// Waits for the oldest plan that is not finished, and appends one token to `chosen` for each of its `sampled` rows, in
    /// their order; `None` where the logits were not numbers.
    ///
    /// # Errors
    /// As [`Self::encode`].
    fn finish(&mut self, chosen: &mut Vec<Option<u32>>) -> Result<(), ExecutorError>;

    /// Whether a plan may be started before the one before it is finished. Whoever says so does not fail.
    fn runs_ahead(&self) -> bool {
        false
    }

    /// Log-probabilities from rows of the last plan's logits, in the order asked; it is finished, and no other was started.
    fn score(&self, asked: &[ScoreAsk], out: &mut Vec<TokenScore>);
}
