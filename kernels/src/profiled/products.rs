//! Bytes that products must move.

use super::device::Profiled;
use super::profile::Op;
use super::storage::{ProfiledMatrix, ProfiledRows};
use crate::backend::{Backend, GatedRows, LinearRows, OutputLayer, Outputs, ProductOps};

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
    fn linear<'a>(
        &self,
        x: &Self::Activations,
        outputs: impl Into<Outputs<'a, Self::Matrix>>,
        rows: LinearRows,
        out: &mut Self::Activations,
    ) where
        Self::Matrix: 'a,
    {
        let outputs: Outputs<'a, Self::Matrix> = outputs.into();
        let (matrix, columns) = (outputs.matrix, outputs.columns(outputs.matrix.rows).len());
        let matrix_bytes = matrix.bytes * columns / matrix.rows.max(1);
        let bytes = matrix_bytes + x.numbers(rows.count * matrix.cols) + out.numbers(rows.count * columns);
        let op = Op { matrix: Some((matrix.cols, columns)), ..Op::of("linear") };
        let outputs = Outputs { matrix: &matrix.inner, range: outputs.range };
        self.measure(op, bytes, |inner| inner.linear(&x.inner, outputs, rows, &mut out.inner));
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
