//! Heads of a row as matrices of their own, rotated by their positions.
//!
//! Called by the tasks of attention.

use rayon::prelude::*;

use crate::rope::RopeSpec;

/// Positions whose angles one task computes.
const TASK_POSITIONS: usize = 64;

/// Cosines and sines of positions.
pub(super) struct Rope {
    /// `[cos.., sin..]` of each position.
    cos_sin: Vec<f32>,
    head_dim: usize,
}

impl Rope {
    /// Angles of positions below `positions`, in float32 as transformers computes them.
    pub(super) fn new(positions: usize, head_dim: usize, spec: RopeSpec) -> Self {
        let frequencies = spec.frequencies(head_dim);
        let mut cos_sin = vec![0.0; positions * head_dim];
        cos_sin.par_chunks_mut(TASK_POSITIONS * head_dim).enumerate().for_each(|(task, rows)| {
            for (offset, row) in rows.chunks_exact_mut(head_dim).enumerate() {
                let position = (task * TASK_POSITIONS + offset) as f32;
                let (cos, sin) = row.split_at_mut(head_dim / 2);
                for ((cos, sin), frequency) in cos.iter_mut().zip(sin).zip(&frequencies) {
                    (*sin, *cos) = (position * frequency).sin_cos();
                }
            }
        });
        Self { cos_sin, head_dim }
    }

    /// Rotates consecutive positions from `first` on, each of `heads` heads; backwards with `sign` of -1.
    pub(super) fn rotate(&self, values: &mut [f32], heads: usize, first: usize, sign: f32) {
        let half = self.head_dim / 2;
        let angles = self.cos_sin[first * self.head_dim..].chunks_exact(self.head_dim);
        for (position, angles) in values.chunks_exact_mut(heads * self.head_dim).zip(angles) {
            let (cos, sin) = angles.split_at(half);
            for head in position.chunks_exact_mut(self.head_dim) {
                let (left, right) = head.split_at_mut(half);
                for (((a, b), cos), sin) in left.iter_mut().zip(right).zip(cos).zip(sin) {
                    let (x, y, sin) = (*a, *b, sin * sign);
                    *a = x * cos - y * sin;
                    *b = y * cos + x * sin;
                }
            }
        }
    }
}

/// Columns `[kv_head * width, (kv_head + 1) * width)` of rows of `row_width`.
pub(super) fn gather(rows: &[f32], row_width: usize, width: usize, kv_head: usize) -> Vec<f32> {
    if row_width == width {
        return rows.to_vec();
    }
    let mut out = Vec::with_capacity(rows.len() / row_width * width);
    rows.chunks_exact(row_width).for_each(|row| out.extend_from_slice(&row[kv_head * width..][..width]));
    out
}

/// The reverse of [`gather`]: writes `values` into their columns, with as many rows.
pub(super) fn scatter(values: &[f32], rows: &mut [f32], width: usize, kv_head: usize) {
    if values.len() == rows.len() {
        return rows.copy_from_slice(values);
    }
    if values.is_empty() {
        return;
    }
    let row_width = rows.len() / (values.len() / width);
    for (row, values) in rows.chunks_exact_mut(row_width).zip(values.chunks_exact(width)) {
        row[kv_head * width..][..width].copy_from_slice(values);
    }
}
