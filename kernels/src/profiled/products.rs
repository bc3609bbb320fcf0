//! Bytes that products must move.

use super::device::Profiled;
use super::profile::Op;
use super::storage::{ProfiledMatrix, ProfiledRows};
use crate::backend::{Backend, GatedRows, LinearRows, OutputLayer, ProductOps};

impl<Matrix> ProfiledMatrix<Matrix> {
    /// An op that multiplies with this matrix.
    pub(super) fn op(&self, name: &'static str) -> Op {
        Op { matrix: Some((self.cols, self.rows)), ..Op::of(name) }
    }

    /// Bytes that a product with `count` rows of `x` reads.
    fn product_bytes<Rows>(&self, count: usize, x: &ProfiledRows<Rows>) -> usize {
        self.bytes + x.numbers(count * self.cols)
    }
}

impl<B: Backend> ProductOps for Profiled<B> {
    fn linear(&self, x: &Self::Activations, matrix: &Self::Matrix, rows: LinearRows, out: &mut Self::Activations) {
        let bytes = matrix.product_bytes(rows.count, x) + out.numbers(rows.count * matrix.rows);
        let run = |inner: &B| inner.linear(&x.inner, &matrix.inner, rows, &mut out.inner);
        self.measure(matrix.op("linear"), bytes, run);
    }

    fn linear_geglu(
        &self,
        x: &Self::Activations,
        matrix: &Self::Matrix,
        rows: LinearRows,
        to: GatedRows<'_, Self::Activations>,
    ) {
        let bytes = matrix.product_bytes(rows.count, x) + to.out.bytes(rows.count);
        let to = GatedRows { gate_up: &mut to.gate_up.inner, out: &mut to.out.inner };
        self.measure(matrix.op("linear_geglu"), bytes, |inner| inner.linear_geglu(&x.inner, &matrix.inner, rows, to));
    }

    fn logits(
        &self,
        x: &Self::Activations,
        output: OutputLayer<'_, Self::Matrix>,
        rows: usize,
        out: &mut Self::Activations,
    ) {
        let OutputLayer { table, softcap } = output;
        let bytes = table.product_bytes(rows, x) + out.numbers(rows * table.rows);
        let output = OutputLayer { table: &table.inner, softcap };
        self.measure(table.op("logits"), bytes, |inner| inner.logits(&x.inner, output, rows, &mut out.inner));
    }
}
