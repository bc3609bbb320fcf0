//! The engine's interface to a model: run a plan, read a score.
//!
//! Implemented by [`super::ModelExecutor`], [`super::StepExecutor`] and by fakes in tests. Knows plans and token ids
//! only.

use kernels::{BestAsk, Candidate, DrawRules, ScoreAsk, TokenScore};
use model::PagePieces;

use crate::scheduler::{EncodeWork, Plan, TargetBatch};

/// A step could not be run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the step could not be run: {reason}")]
pub struct ExecutorError {
    /// The device's error message.
    pub reason: String,
}

/// Runs plans one after the other: [`Self::encode`], [`Self::decode`], [`Self::draw`], [`Self::finish`].
pub trait Executor: Send {
    /// Starts the encode work of a plan, if it has any.
    ///
    /// # Errors
    /// When the device failed; the plan then had no effect that matters.
    fn encode(&mut self, plan: &Plan) -> Result<(), ExecutorError>;

    /// Copies the plan's pages, then starts its target rows, if it has any. Its rules may still lack their masks. An
    /// executor whose rows and draws are one step starts both in [`Self::draw`].
    ///
    /// # Errors
    /// As [`Self::encode`].
    fn decode(&mut self, plan: &Plan) -> Result<(), ExecutorError>;

    /// Starts the draws from the outputs of the plan whose rows were started, under its rules.
    ///
    /// # Errors
    /// As [`Self::encode`].
    fn draw(&mut self, plan: &Plan) -> Result<(), ExecutorError>;

    /// Waits for the oldest plan that is not finished, and appends one token to `chosen` for each of its draws, in
    /// their order; `None` where the logits were not finite, or the rule leaves nothing.
    ///
    /// # Errors
    /// As [`Self::encode`].
    fn finish(&mut self, chosen: &mut Vec<Option<u32>>) -> Result<(), ExecutorError>;

    /// The pieces of the pages that plans name.
    fn page_pieces(&self) -> PagePieces;

    /// Whether a plan may be started before the previous one is finished. If true, the executor must be infallible.
    fn runs_ahead(&self) -> bool {
        false
    }

    /// Bytes that a step with these rows reads at least; 0 where that is not known.
    fn read_bytes(&self, _targets: &TargetBatch) -> u64 {
        0
    }

    /// Reads the results of the plan's encoder requests and appends them to `out`, in the order of
    /// [`EncodeWork::asked`]. The plan with this work is finished, and no other was started.
    fn read_encoded(&mut self, work: &EncodeWork, out: &mut Vec<Vec<f32>>);

    /// Reads the best candidates from the outputs of the last plan under its rules, and appends one list for each row
    /// asked, in order; an empty one where the logits were not finite, or the rule leaves nothing. That plan is
    /// finished, and no other was started.
    fn best(&self, asked: &[BestAsk], rules: &DrawRules, out: &mut Vec<Vec<Candidate>>);

    /// Reads log-probabilities from the outputs of the last plan, in the order asked. That plan is finished, and no
    /// other was started.
    fn score(&self, asked: &[ScoreAsk], out: &mut Vec<TokenScore>);
}
