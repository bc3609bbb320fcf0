//! The operations of the trained network: each a function of tensors that knows its gradient.
//!
//! Called by `network`. Activations are ragged, never padded: the tokens of all rows one after another, with the
//! rows' lengths beside them. Knows no layer and no parameter's name.

pub mod unfused;

use candle_core::Tensor;

pub use unfused::{attention, cross_entropy, cross_entropy_of_logits, dropout, embed, geglu, linear, rms_norm};

/// How the rows of `q` read those of `k` and `v`: row `i` of the queries reads row `i` of the keys.
#[derive(Debug, Clone)]
pub struct Attention {
    /// Tokens of each row of the queries.
    pub queries: Vec<usize>,
    /// Tokens of each row of the keys; as many rows.
    pub keys: Vec<usize>,
    /// Query heads.
    pub heads: usize,
    /// Key/value heads; divides `heads`.
    pub kv_heads: usize,
    /// Width of one head.
    pub head_dim: usize,
    /// Scores are multiplied by it.
    pub scale: f32,
    /// Softcap of the scaled scores, before the mask.
    pub softcap: Option<f32>,
    /// Whether a query sees keys up to its own position only.
    pub causal: bool,
    /// Keys in sight: with `causal` those above `query - window`, else those at most `window` away on either side.
    pub window: Option<usize>,
    /// Base of the rotary angles of queries and keys, whose positions count from 0 in each row.
    pub rope_theta: Option<f32>,
    /// Dropout of the probabilities.
    pub dropout: Option<Dropout>,
}

/// Numbers are kept with probability `1 - rate`, and scaled by its inverse.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dropout {
    /// Share of the numbers that become zero.
    pub rate: f32,
    /// The same key drops the same numbers on the same kind of device.
    pub key: u64,
}

/// What the states are compared with.
#[derive(Debug, Clone)]
pub struct CrossEntropy {
    /// One for each row of states.
    pub labels: Vec<u32>,
    /// Softcap of the logits.
    pub softcap: Option<f32>,
    /// Weight of the squared log-normaliser.
    pub z_loss: f32,
    /// A distribution to be learned beside the labels.
    pub teacher: Option<Teacher>,
}

/// Where a teacher's distribution comes from.
#[derive(Debug, Clone)]
pub struct Teacher {
    /// The teacher's states, one for each row of the student's.
    pub states: Tensor,
    /// The teacher's output table, `[vocab, width]`.
    pub table: Tensor,
    /// Softcap of the teacher's logits.
    pub softcap: Option<f32>,
    /// Divides both models' logits in this part of the loss, which is multiplied by its square.
    pub temperature: f32,
    /// Share of this part; the labels have the rest.
    pub weight: f32,
}

/// A loss over all rows.
#[derive(Debug, Clone)]
pub struct TokenLosses {
    /// Sum over the rows; a float32 scalar that knows its gradient.
    pub sum: Tensor,
    /// Sum of `-log p(label)` alone.
    pub cross_entropy: f64,
    /// Rows whose label is the most probable id.
    pub correct: usize,
}
