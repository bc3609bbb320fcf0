//! Limits of the machine and tokens of the model, as the scheduler needs to know them.

use model::EncoderCost;

use super::pool_size::PoolSize;

/// Limits of the page pool and of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SchedulerLimits {
    /// The page pool.
    pub pool: PoolSize,
    /// Most rows that running sequences take: one for each, or as many as a beam search is wide.
    pub running_rows: usize,
    /// Most of them that sequences of one call take.
    pub call_rows: usize,
    /// Most target rows of one step; at least `running_rows`.
    pub step_rows: usize,
    /// Source tokens that go through the whole encoder in one step; a longer source takes several steps.
    pub step_encoder_tokens: usize,
    /// Target rows up to which a step is filled with drafted tokens; 0 drafts none.
    pub draft_rows: usize,
    /// The encoder, by what rows cost it.
    pub encoder: EncoderCost,
}

/// Tokens that begin and end every target, and how many tokens there are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BoundaryTokens {
    /// First token of every target.
    pub start: u32,
    /// Tokens that end a target.
    pub end: Vec<u32>,
    /// Number of ids of the model.
    pub vocabulary: u32,
}
