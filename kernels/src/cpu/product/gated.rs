//! A product whose columns are halves, `[gate | up]`, and the activation that joins them.
//!
//! Called by `ops::products`. The panels of both halves lie in turn, so that a thread reads its share of the weights in
//! one straight line. The halves of a tile are joined while they are in the first-level cache, so that memory sees the
//! joined half alone.
#![allow(unsafe_code)]

use super::{MOST_ROWS, Product, TileOutput};
use crate::cpu::panel::PANEL;
use crate::cpu::parts::RowOrder;
use crate::cpu::pool::SharedMut;
use crate::cpu::rows;

/// Outputs of a tile, `[row][column]`.
type Outputs = [[f32; PANEL]; MOST_ROWS];

impl Product<'_> {
    /// `out[row, i] = gelu_tanh(gate) * up`, where `gate` is the row's column `i` of the product and `up` the one that
    /// lies half the columns further. `out` is `[count, columns / 2]`. Columns are all columns of
    /// [`RowOrder::HalvesInTurn`].
    pub fn run_gated(&self, out: &mut [f32]) {
        assert_eq!(self.matrix.order, RowOrder::HalvesInTurn, "the halves of the matrix lie in turn");
        let width = self.matrix.rows / 2;
        let out = SharedMut::new(&mut out[..self.rows.count * width]);
        self.each_part(0..width / PANEL, |part| {
            let (mut gate, mut up): (Outputs, Outputs) = ([[0.0; PANEL]; MOST_ROWS], [[0.0; PANEL]; MOST_ROWS]);
            self.each_tile(part, &mut |tile, multiply| {
                multiply(2 * tile.panel, TileOutput { to: gate.as_mut_ptr().cast(), stride: PANEL });
                multiply(2 * tile.panel + 1, TileOutput { to: up.as_mut_ptr().cast(), stride: PANEL });
                for (row, (gate, up)) in gate.iter().zip(&up).take(tile.count).enumerate() {
                    let start = (tile.row + row) * width + tile.panel * PANEL;
                    // SAFETY: this thread alone has these rows and columns of `out`.
                    let out = unsafe { out.slice(start..start + PANEL) };
                    rows::join_halves(self.isa, gate, up, out);
                }
            });
        });
    }
}
