//! Figures of one batch size, as they are printed and drawn.
//!
//! Filled by `measure`. The names of the fields are keys of the JSON lines.

use serde::Serialize;

/// One batch size's figures.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct BenchFigures {
    /// Sequences.
    pub batch: usize,
    /// Time from sources to first tokens, for the whole batch.
    pub encode_ms: f64,
    /// Time of one further token, for the whole batch.
    pub step_ms: f64,
    /// Tokens per second of the steps alone.
    pub decode_tokens_per_s: f64,
    /// Tokens per second from sources to last tokens.
    pub tokens_per_s: f64,
    /// Multiplications and additions that the sources take at least.
    pub encoder_operations: u64,
    /// Bytes that a step must read, in the middle of the target.
    pub step_bytes: u64,
    /// Speed of the memory, measured in the same process before and after the batch.
    pub read_bytes_per_s: f64,
    /// `step_bytes / read_bytes_per_s`.
    pub floor_ms: f64,
}
