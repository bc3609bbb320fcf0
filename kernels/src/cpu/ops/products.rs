//! Products with packed matrices.

use crate::backend::{GatedRows, LinearRows, OutputLayer, Outputs, ProductOps, RowOps};
use crate::cpu::activations::Activations;
use crate::cpu::matrix::Matrix;
use crate::cpu::parts::RowOrder;
use crate::cpu::processor::Cpu;
use crate::cpu::product::{Columns, Product, Rows};
use crate::cpu::rows;

impl ProductOps for Cpu {
    fn linear<'a>(
        &self,
        x: &Activations,
        outputs: impl Into<Outputs<'a, Matrix>>,
        rows: LinearRows,
        out: &mut Activations,
    ) {
        let outputs: Outputs<'a, Matrix> = outputs.into();
        let (matrix, wanted) = (outputs.matrix, outputs.columns(outputs.matrix.rows));
        assert!(wanted.end <= matrix.rows, "columns up to {} are wanted of {}", wanted.end, matrix.rows);
        assert!(x.width == matrix.cols && out.width == wanted.len(), "the rows are as wide as the matrix");
        assert_eq!(matrix.order, RowOrder::Stacked, "a matrix for gated products has no other use");
        let LinearRows { from, to, count } = rows;
        let rows = Rows { x: x.rows(from..from + count), count };
        let columns = Columns { start: wanted.start, end: wanted.end };
        let product = Product { isa: self.isa, pool: &self.pool, rows, matrix, columns };
        product.run(&mut out.data[to * wanted.len()..], |_| ());
    }

    fn linear_geglu(&self, x: &Activations, matrix: &Matrix, rows: LinearRows, to: GatedRows<'_, Activations>) {
        let GatedRows { gate_up, out } = to;
        assert!(x.width == matrix.cols && 2 * out.width == matrix.rows, "the rows are as wide as the matrix");
        let LinearRows { from, count, .. } = rows;
        let read = Rows { x: x.rows(from..from + count), count };
        let columns = Columns::all(matrix);
        let product = Product { isa: self.isa, pool: &self.pool, rows: read, matrix, columns };
        if matrix.order == RowOrder::HalvesInTurn {
            return product.run_gated(&mut out.data);
        }
        self.linear(x, matrix, LinearRows { to: 0, ..rows }, gate_up);
        self.geglu(gate_up, count, out);
    }

    fn logits(&self, x: &Activations, output: OutputLayer<'_, Matrix>, rows: usize, out: &mut Activations) {
        let OutputLayer { table: matrix, softcap } = output;
        assert!(x.width == matrix.cols && out.width == matrix.rows, "the rows are as wide as the table");
        let rows = Rows { x: x.rows(0..rows), count: rows };
        let product = Product { isa: self.isa, pool: &self.pool, rows, matrix, columns: Columns::all(matrix) };
        product.run(&mut out.data, |stretch| {
            if let Some(cap) = softcap {
                rows::softcap(self.isa, stretch, cap);
            }
        });
    }
}
