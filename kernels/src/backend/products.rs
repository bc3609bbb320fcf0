//! Products of rows with weights.
//!
//! Implemented by each backend.

use std::ops::Range;

use super::rows::RowOps;

/// Rows that a product reads and writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinearRows {
    /// First row read.
    pub from: usize,
    /// First row written.
    pub to: usize,
    /// Rows.
    pub count: usize,
}

impl LinearRows {
    /// Rows `0 .. count` of both sides.
    pub const fn first(count: usize) -> Self {
        Self { from: 0, to: 0, count }
    }
}

/// Outputs of a product: all columns that a matrix has, one for each of its rows, or a range of them.
#[derive(Debug)]
pub struct Outputs<'a, Matrix> {
    /// The matrix.
    pub matrix: &'a Matrix,
    /// Range of output columns, from any column on; `None` is all of them.
    pub range: Option<Range<usize>>,
}

impl<'a, Matrix> Outputs<'a, Matrix> {
    /// A range of output columns, such as `[k | v]` of a fused `[q | k | v]`.
    pub const fn of(matrix: &'a Matrix, range: Range<usize>) -> Self {
        Self { matrix, range: Some(range) }
    }

    /// Columns, for a matrix that has `all`.
    pub fn columns(&self, all: usize) -> Range<usize> {
        self.range.clone().unwrap_or(0..all)
    }
}

impl<'a, Matrix> From<&'a Matrix> for Outputs<'a, Matrix> {
    fn from(matrix: &'a Matrix) -> Self {
        Self { matrix, range: None }
    }
}

/// Rows that a gated product writes.
#[derive(Debug)]
pub struct GatedRows<'a, Activations> {
    /// Working memory, `[gate | up]`: whether it is written is unspecified.
    pub gate_up: &'a mut Activations,
    /// `gelu_tanh(gate) * up`.
    pub out: &'a mut Activations,
}

/// The output layer.
#[derive(Debug)]
pub struct OutputLayer<'a, Matrix> {
    /// One row for each id.
    pub table: &'a Matrix,
    /// Logits become `cap * tanh(logit / cap)`; plain products where there is none.
    pub softcap: Option<f32>,
}

impl<Matrix> Clone for OutputLayer<'_, Matrix> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<Matrix> Copy for OutputLayer<'_, Matrix> {}

/// Products with matrices.
pub trait ProductOps: RowOps {
    /// `out[to + i] = x[from + i] . matrix^T` for `count` rows, or a range of its columns, which then are all columns
    /// of `out`. Where one algorithm multiplies, a column of a range has the bits that it has among all columns.
    fn linear<'a>(
        &self,
        x: &Self::Activations,
        outputs: impl Into<Outputs<'a, Self::Matrix>>,
        rows: LinearRows,
        out: &mut Self::Activations,
    ) where
        Self::Matrix: 'a;

    /// [`Self::linear`], then [`RowOps::geglu`]: `out[i] = gelu_tanh(gate) * up` of `[gate | up] = x[from + i] .
    /// matrix^T`, for `count` rows. `rows.to` is ignored. The matrix is one for [`MatrixUse::Gated`](crate::MatrixUse).
    fn linear_geglu(
        &self,
        x: &Self::Activations,
        matrix: &Self::Matrix,
        rows: LinearRows,
        to: GatedRows<'_, Self::Activations>,
    ) {
        self.linear(x, matrix, LinearRows { to: 0, ..rows }, to.gate_up);
        self.geglu(to.gate_up, rows.count, to.out);
    }

    /// `out = cap * tanh((x . table^T) / cap)`, for each of the first `rows` rows.
    fn logits(
        &self,
        x: &Self::Activations,
        output: OutputLayer<'_, Self::Matrix>,
        rows: usize,
        out: &mut Self::Activations,
    );
}
