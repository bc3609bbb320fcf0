//! Products of rows with weights.
//!
//! Implemented by each backend.

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
    /// `out[to + i] = x[from + i] . matrix^T` for `count` rows.
    fn linear(&self, x: &Self::Activations, matrix: &Self::Matrix, rows: LinearRows, out: &mut Self::Activations);

    /// [`Self::linear`], then [`RowOps::geglu`]: `out[i] = gelu_tanh(gate) * up` of `[gate | up] = x[from + i] .
    /// matrix^T`, for `count` rows. `rows.to` is ignored.
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
