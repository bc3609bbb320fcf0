//! Products with packed matrices.

use crate::backend::{LinearRows, OutputLayer, ProductOps};
use crate::cpu::activations::Activations;
use crate::cpu::matrix::Matrix;
use crate::cpu::processor::Cpu;
use crate::cpu::product::{Product, Rows};
use crate::cpu::rows;

impl ProductOps for Cpu {
    fn linear(&self, x: &Activations, matrix: &Matrix, rows: LinearRows, out: &mut Activations) {
        assert!(x.width == matrix.cols && out.width == matrix.rows, "the rows are as wide as the matrix");
        let LinearRows { from, to, count } = rows;
        let rows = Rows { x: x.rows(from..from + count), count };
        let product = Product { isa: self.isa, pool: &self.pool, rows, matrix };
        product.run(&mut out.data[to * matrix.rows..], |_| ());
    }

    fn logits(&self, x: &Activations, output: OutputLayer<'_, Matrix>, rows: usize, out: &mut Activations) {
        let OutputLayer { table: matrix, softcap } = output;
        assert!(x.width == matrix.cols && out.width == matrix.rows, "the rows are as wide as the table");
        let rows = Rows { x: x.rows(0..rows), count: rows };
        Product { isa: self.isa, pool: &self.pool, rows, matrix }.run(&mut out.data, |stretch| {
            if let Some(cap) = softcap {
                rows::softcap(self.isa, stretch, cap);
            }
        });
    }
}
