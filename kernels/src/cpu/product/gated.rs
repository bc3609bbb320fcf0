//! A product whose columns are halves, `[gate | up]`, and the activation that joins them.
//!
//! Called by `ops::products`. The halves of a tile are joined while they are in the first-level cache, so that memory
//! sees the joined half alone.
#![allow(unsafe_code)]

use super::{MOST_ROWS, Product, TileOutput};
use crate::cpu::panel::PANEL;
use crate::cpu::pool::SharedMut;
use crate::cpu::rows;

/// Outputs of a tile, `[row][column]`.
type Outputs = [[f32; PANEL]; MOST_ROWS];

impl Product<'_> {
    /// Whether no panel holds columns of both halves.
    pub fn has_whole_halves(&self) -> bool {
        self.columns.start == 0 && self.columns.count().is_multiple_of(2 * PANEL)
    }

    /// `out[row, i] = gelu_tanh(gate) * up`, where `gate` is the row's column `i` of the product and `up` the one that
    /// lies half the columns further. `out` is `[count, columns / 2]`. The halves must be whole.
    pub fn run_gated(&self, out: &mut [f32]) {
        assert!(self.has_whole_halves(), "a panel holds columns of one half");
        let width = self.columns.count() / 2;
        let half = width / PANEL;
        let out = SharedMut::new(&mut out[..self.rows.count * width]);
        self.each_part(0..half, |part| {
            let (mut gate, mut up): (Outputs, Outputs) = ([[0.0; PANEL]; MOST_ROWS], [[0.0; PANEL]; MOST_ROWS]);
            self.each_tile(part, &mut |tile, multiply| {
                multiply(tile.panel, TileOutput { to: gate.as_mut_ptr().cast(), stride: PANEL });
                multiply(tile.panel + half, TileOutput { to: up.as_mut_ptr().cast(), stride: PANEL });
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
