//! A classification head: `scores = weight . state + bias` of one state of the encoder.
//!
//! Loaded with an encoder that classifies. It always computes in float32: the head has few rows, and their scores are
//! compared.

use crate::checkpoint::{ClassHeadNames, TensorSource};
use crate::error::Result;

/// A linear head with a bias.
pub(crate) struct ClassHead {
    /// `[labels, hidden]`.
    weight: Vec<f32>,
    /// `[labels]`.
    bias: Vec<f32>,
}

impl ClassHead {
    /// Reads the head over an encoder.
    ///
    /// # Errors
    /// When a tensor cannot be read.
    pub fn over_encoder(source: &dyn TensorSource) -> Result<Self> {
        let numbers = |name| Ok::<_, crate::error::Error>(source.tensor(name)?.numbers());
        let ClassHeadNames { weight, bias } = ClassHeadNames::ENCODER;
        let bias = bias.expect("the head over an encoder has a bias");
        Ok(Self { weight: numbers(weight)?, bias: numbers(bias)? })
    }

    /// Scores of all labels for one state.
    pub fn scores(&self, state: &[f32]) -> Vec<f32> {
        let product = |row: &[f32]| row.iter().zip(state).map(|(weight, x)| weight * x).sum::<f32>();
        self.weight.chunks_exact(state.len()).zip(&self.bias).map(|(row, bias)| product(row) + bias).collect()
    }
}
