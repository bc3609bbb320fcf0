//! Rows of the reference.
//!
//! Read and written by its ops.

use crate::math::round_bf16;

/// Rows of numbers.
#[derive(Debug, Clone)]
pub struct Activations {
    pub(super) data: Vec<f32>,
    pub(super) width: usize,
    /// Numbers are rounded to bfloat16 when they are written.
    pub(super) rounds: bool,
}

impl Activations {
    pub(super) fn row(&self, index: usize) -> &[f32] {
        &self.data[index * self.width..][..self.width]
    }

    pub(super) fn set(&mut self, index: usize, values: &[f32]) {
        let rounds = self.rounds;
        let row = &mut self.data[index * self.width..][..self.width];
        row.iter_mut().zip(values).for_each(|(out, &value)| *out = if rounds { round_bf16(value) } else { value });
    }
}
