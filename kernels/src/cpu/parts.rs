//! Rows of the weights that are packed into one matrix, in the order in which the matrix holds them.
//!
//! Read by `matrix`, `quantized` and `screen`.

use super::panel::PANEL;
use crate::quantize::Scheme;
use crate::weights::{MatrixUse, QuantizedRowMut, WeightPart};

/// Order of the rows of a matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RowOrder {
    /// One part below the other.
    Stacked,
    /// Panels of the first half of the rows and of the second half, in turn: what a gated product reads together lies
    /// together.
    HalvesInTurn,
}

/// Weights with as many inputs each.
#[derive(Clone, Copy)]
pub(super) struct Parts<'a> {
    weights: &'a [WeightPart<'a>],
    order: RowOrder,
}

impl<'a> Parts<'a> {
    /// Weights in the order that their use asks for. Halves that share a panel stay one below the other.
    pub fn new(weights: &'a [WeightPart<'a>], usage: MatrixUse) -> Self {
        let stacked = Self { weights, order: RowOrder::Stacked };
        let in_turn = usage == MatrixUse::Gated && stacked.rows().is_multiple_of(2 * PANEL);
        Self { order: if in_turn { RowOrder::HalvesInTurn } else { RowOrder::Stacked }, ..stacked }
    }

    pub const fn order(self) -> RowOrder {
        self.order
    }

    /// Inputs.
    pub fn cols(self) -> usize {
        self.weights.first().map_or(0, |part| part.shape().1)
    }

    /// Output features.
    pub fn rows(self) -> usize {
        self.weights.iter().map(|part| part.shape().0).sum()
    }

    /// Whether all numbers are bfloat16.
    pub fn are_bf16(self) -> bool {
        self.weights.iter().all(WeightPart::is_bf16)
    }

    /// Writes row `index` of the matrix to `out`.
    pub fn read_row(self, index: usize, out: &mut [f32]) {
        let (part, row) = self.place(index);
        part.read_row(row, out);
    }

    /// Writes row `index` of the matrix as integers and scales, by way of `values`.
    pub fn quantized_row(self, index: usize, scheme: Scheme, values: &mut [f32], out: QuantizedRowMut<'_>) {
        let (part, row) = self.place(index);
        part.quantized_row(row, scheme, values, out);
    }

    /// The part that holds row `index` of the matrix, and which of its rows that is.
    fn place(self, index: usize) -> (&'a WeightPart<'a>, usize) {
        let mut row = match self.order {
            RowOrder::Stacked => index,
            RowOrder::HalvesInTurn => {
                let (panel, lane) = (index / PANEL, index % PANEL);
                panel % 2 * (self.rows() / 2) + panel / 2 * PANEL + lane
            }
        };
        for part in self.weights {
            let rows = part.shape().0;
            if row < rows {
                return (part, row);
            }
            row -= rows;
        }
        unreachable!("rows are counted over the same parts");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_alternate_by_panels_whatever_their_parts() {
        let part = |rows| WeightPart::Random { rows, cols: 1, seed: 0, deviation: 1.0 };
        let weights = [part(PANEL), part(3 * PANEL)];
        let parts = Parts::new(&weights, MatrixUse::Gated);
        let places: Vec<_> =
            (0..4 * PANEL).map(|index| parts.place(index)).map(|(part, row)| (part.shape().0, row)).collect();
        let panel_of = |rows, first: usize| (first..first + PANEL).map(move |row| (rows, row));
        let expected = panel_of(PANEL, 0)
            .chain(panel_of(3 * PANEL, PANEL))
            .chain(panel_of(3 * PANEL, 0))
            .chain(panel_of(3 * PANEL, 2 * PANEL));
        assert_eq!(places, expected.collect::<Vec<_>>());
    }

    #[test]
    fn halves_that_share_a_panel_stay_one_below_the_other() {
        let weights = [WeightPart::Random { rows: 3 * PANEL, cols: 1, seed: 0, deviation: 1.0 }];
        assert_eq!(Parts::new(&weights, MatrixUse::Gated).order(), RowOrder::Stacked);
        let parts = Parts::new(&weights, MatrixUse::Multiply);
        assert_eq!((parts.order(), parts.place(2 * PANEL).1), (RowOrder::Stacked, 2 * PANEL));
    }
}
