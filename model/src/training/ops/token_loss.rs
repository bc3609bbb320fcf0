//! The loss over a vocabulary: what it is computed from besides the states, and its results.
//!
//! Read by every implementation of `cross_entropy`.

use candle_core::Tensor;

/// Labels and terms of the loss.
#[derive(Debug, Clone)]
pub struct CrossEntropy {
    /// Labels, one for each row of states.
    pub labels: Vec<u32>,
    /// Softcap of the logits.
    pub softcap: Option<f32>,
    /// Weight of the squared log-normaliser.
    pub z_loss: f32,
    /// Teacher whose distribution is learned beside the labels.
    pub teacher: Option<Teacher>,
}

/// Distribution of a teacher, from its states and output table.
#[derive(Debug, Clone)]
pub struct Teacher {
    /// The teacher's states, one for each row of the student's.
    pub states: Tensor,
    /// The teacher's output table, `[vocab, width]`.
    pub table: Tensor,
    /// Softcap of the teacher's logits.
    pub softcap: Option<f32>,
    /// Temperature: divides both models' logits in this part of the loss, which is multiplied by its square.
    pub temperature: f32,
    /// Share of this part in the loss; the labels have the rest.
    pub weight: f32,
}

/// The loss over all rows.
#[derive(Debug, Clone)]
pub struct TokenLosses {
    /// Sum over the rows; a float32 scalar with its gradient.
    pub sum: Tensor,
    /// Sum of `-log p(label)` alone.
    pub cross_entropy: f64,
    /// Number of rows whose label is the most probable id.
    pub correct: usize,
}
