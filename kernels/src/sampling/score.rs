//! Log-probabilities of one target position: what is asked, and the answer.
//!
//! Computed by the backends.

/// An id with its natural-log probability.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Candidate {
    /// Token id.
    pub id: u32,
    /// Log-softmax of the soft-capped logits at `id`; not a number where they make no distribution.
    pub log_prob: f32,
    /// How many ids are more probable (ties count if their id is lower).
    pub rank: u32,
}

/// Log-probabilities wanted of one row of logits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScoreAsk {
    /// Row of the logits.
    pub row: u32,
    /// Token whose log-probability is wanted.
    pub id: u32,
    /// How many of the most probable ids are wanted beside it.
    pub top: u32,
}

/// Log-probabilities at one target position.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TokenScore {
    /// The token that was asked about.
    pub chosen: Candidate,
    /// The most probable ids, best first; ties by the lower id.
    pub top: Vec<Candidate>,
}

impl TokenScore {
    /// Whether the logits made a distribution. If not, no log-probability here means anything.
    pub const fn is_of_distribution(&self) -> bool {
        !self.chosen.log_prob.is_nan()
    }
}
