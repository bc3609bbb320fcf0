//! Rows of the CPU backend, weights of norms, and rotary angles.
//!
//! Read and written by `ops`.

use std::ops::Range;

use super::buffer::Buffer;
use super::pool::{Pool, RowsMut};

/// Numbers below which an op on rows stays on the calling thread: waking others costs more.
pub(super) const LEAST_NUMBERS: usize = 16 * 1024;

/// Rows of float32.
pub struct Activations {
    pub(super) data: Buffer<f32>,
    pub(super) width: usize,
}

/// Norm weights as factors, `1 + w`.
pub struct Gain(pub(super) Vec<f32>);

/// `[cos.., sin..]` of each position.
pub struct RopeTable {
    pub(super) values: Buffer<f32>,
    pub(super) head_dim: usize,
}

impl Activations {
    pub(super) fn rows(&self, range: Range<usize>) -> &[f32] {
        &self.data[range.start * self.width..range.end * self.width]
    }

    /// Threads share the first `rows` rows; `job` gets a range of rows, and these rows.
    pub(super) fn split(&mut self, pool: &Pool, rows: usize, job: impl Fn(Range<usize>, &mut [f32]) + Sync) {
        let least = LEAST_NUMBERS.div_ceil(self.width);
        pool.split_rows(RowsMut { data: &mut self.data, width: self.width }, rows, least, job);
    }
}

impl RopeTable {
    /// `[cos.., sin..]` of a position.
    pub(super) fn angles(&self, position: u32) -> &[f32] {
        &self.values[position as usize * self.head_dim..][..self.head_dim]
    }
}
