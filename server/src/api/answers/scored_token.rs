//! A token with its log-probabilities, before it has the shape of an answer.
//!
//! Kept by `choice`, written by the forms.

use kernels::Candidate;

use crate::engine::TokenScore;

/// Stands for minus infinity, which JSON cannot write; vLLM writes the same number.
const LOWEST: f32 = -9999.0;

/// Bytes of a number from the engine, in its event and in the piece of an answer: an id and a log-probability each,
/// in lists that may have room for as many more.
pub const SCORE_BYTES: usize = 4 * size_of::<Candidate>();

/// A token of a choice's text.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoredToken {
    /// The token and its alternatives.
    pub score: TokenScore,
    /// Characters of the choice's text before it.
    pub offset: usize,
}

/// About how many bytes of JSON these tokens take.
pub fn log_probs_json_bytes(tokens: &[ScoredToken]) -> usize {
    const LOG_PROB_BYTES: usize = 64;
    LOG_PROB_BYTES * tokens.iter().map(|token| 1 + token.score.top.len()).sum::<usize>()
}

/// A log-probability as JSON can write it.
pub fn finite(log_prob: f32) -> f32 {
    debug_assert!(!log_prob.is_nan(), "the engine ends a request whose logits make no distribution");
    log_prob.max(LOWEST)
}
