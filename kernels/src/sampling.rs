//! The definition of sampling: a pure function of logits, parameters, seed, choice and position.
//!
//! Called by the backends and by tests. All backends must choose alike from the same logits.

/// How a sequence's tokens are chosen. Out-of-range values are refused where requests are parsed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    /// 0 is greedy; else logits are divided by it.
    pub temperature: f32,
    /// Keep the `top_k` largest logits; 0 keeps all.
    pub top_k: u32,
    /// Keep the smallest set of most probable ids whose mass reaches `top_p`, in (0, 1].
    pub top_p: f32,
    /// Keep ids at least `min_p` times as probable as the most probable one, in [0, 1].
    pub min_p: f32,
    /// Seed of the random stream.
    pub seed: u64,
}

impl Sampling {
    /// The most probable id, always.
    pub const GREEDY: Self = Self { temperature: 0.0, top_k: 0, top_p: 1.0, min_p: 0.0, seed: 0 };
}

/// One draw: the parameters and the place in the random stream.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Choice {
    /// Parameters of the sequence.
    pub sampling: Sampling,
    /// Index of the sequence among its request's `n`.
    pub choice: u32,
    /// Position of the token that is drawn, counted from the decoder's start token at 0.
    pub position: u32,
    /// Ids that may not be chosen (end tokens before `min_tokens`).
    pub forbid_end: bool,
}

/// An id with its natural-log probability.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    /// Token id.
    pub id: u32,
    /// Log-softmax of the soft-capped logits at `id`.
    pub log_prob: f32,
    /// How many ids are more probable (ties count if their id is lower).
    pub rank: u32,
}
