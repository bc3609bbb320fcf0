//! Products, one output after the other.

use super::activations::Activations;
use super::device::Reference;
use super::formulas::softcap;
use super::matrix::Matrix;
use crate::backend::{LinearRows, OutputLayer, Outputs, ProductOps};

impl ProductOps for Reference {
    fn linear<'a>(
        &self,
        x: &Activations,
        outputs: impl Into<Outputs<'a, Matrix>>,
        rows: LinearRows,
        out: &mut Activations,
    ) {
        let outputs: Outputs<'a, Matrix> = outputs.into();
        for row in 0..rows.count {
            let all = outputs.matrix.product(*self, x.row(rows.from + row));
            out.set(rows.to + row, &all[outputs.columns(all.len())]);
        }
    }

    fn logits(&self, x: &Activations, output: OutputLayer<'_, Matrix>, rows: usize, out: &mut Activations) {
        for row in 0..rows {
            let logits = output.table.product(*self, x.row(row));
            let capped: Vec<f32> = logits.into_iter().map(|z| softcap(z, output.softcap)).collect();
            out.set(row, &capped);
        }
    }
}
