//! The gated feed-forward: `y = down(gelu(gate(x)) * up(x))`.

use std::ops::Range;

use kernels::{Backend, GatedRows, LinearRows};

use super::space::StackSpace;

/// Weights of a feed-forward sub-layer.
pub(crate) struct FeedForward<B: Backend> {
    pub pre: B::Gain,
    pub post: B::Gain,
    /// `[gate | up]`.
    pub gate_up: B::Matrix,
    pub down: B::Matrix,
}

impl<B: Backend> FeedForward<B> {
    /// Runs over some rows, in blocks: its inner rows are wide and are not kept.
    pub fn run(&self, backend: &B, rows: Range<usize>, space: &mut StackSpace<B>) {
        let StackSpace { x, y, gate_up, gated, block, .. } = space;
        for start in rows.clone().step_by(*block) {
            let count = rows.end.min(start + *block) - start;
            let read = LinearRows { from: start, to: 0, count };
            backend.linear_geglu(x, &self.gate_up, read, GatedRows { gate_up, out: gated });
            backend.linear(gated, &self.down, LinearRows { from: 0, to: start, count }, y);
        }
    }
}
