//! Products with packed matrices.

use crate::backend::{LinearRows, OutputLayer, Outputs, ProductOps};
use crate::cpu::activations::Activations;
use crate::cpu::matrix::Matrix;
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
        let LinearRows { from, to, count } = rows;
        let rows = Rows { x: x.rows(from..from + count), count };
        let columns = Columns { start: wanted.start, end: wanted.end };
        let product = Product { isa: self.isa, pool: &self.pool, rows, matrix, columns };
        product.run(&mut out.data[to * wanted.len()..], |_| ());
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
