//! Cross-entropy of states against a whole vocabulary, with its gradients, by chunks of rows.
//!
//! Called by the trainer's `cross_entropy`. Logits, loss, and the gradients of logits, states and table are
//! computed for one chunk before the next is begun, so that the logits of a batch are never in memory together.

mod row;

use rayon::prelude::*;

use super::{Matrix, MatrixMut, Product, Workers};
use crate::isa::Isa;
use row::{Row, RowLoss, TeacherRow};

/// Approximate number of logits in a chunk.
const CHUNK_LOGITS: usize = 1 << 25;
/// Fewest rows of a chunk, so that the table is not read and its gradient not written too often, and most rows.
const CHUNK_ROWS: [usize; 2] = [32, 512];

/// Factors of logits: `softcap(states . table)`.
#[derive(Debug, Clone, Copy)]
pub struct Head<'a> {
    /// `[rows, width]`.
    pub states: &'a [f32],
    /// `[vocab, width]`.
    pub table: &'a [f32],
    /// Width of a state.
    pub width: usize,
    /// Keeps logits within `(-softcap, softcap)`.
    pub softcap: Option<f32>,
}

/// Teacher whose distribution is learned beside the labels.
#[derive(Debug, Clone, Copy)]
pub struct Teacher<'a> {
    /// Factors of its logits, with as many rows and as large a vocabulary as the student's.
    pub head: Head<'a>,
    /// Temperature that divides the logits of both.
    pub temperature: f32,
    /// Share of the teacher's part in the loss, which is multiplied by the temperature's square.
    pub weight: f32,
}

/// Description of a loss.
#[derive(Debug, Clone, Copy)]
pub struct CrossEntropy<'a> {
    /// The student.
    pub head: Head<'a>,
    /// The right id of each row.
    pub labels: &'a [u32],
    /// Weight of the squared log-normaliser.
    pub z_loss: f32,
    /// Teacher whose distribution is learned beside the labels.
    pub teacher: Option<Teacher<'a>>,
    /// Whether the gradient of the states is wanted.
    pub for_states: bool,
    /// Whether the gradient of the table is wanted.
    pub for_table: bool,
}

/// The loss over all rows.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CrossEntropyOutput {
    /// Sum of the minimised loss.
    pub loss: f64,
    /// Sum of `-log p(label)` alone.
    pub cross_entropy: f64,
    /// Number of rows whose label has the largest logit (the first of equals).
    pub correct: usize,
    /// Gradient of the states; empty unless wanted.
    pub d_states: Vec<f32>,
    /// Gradient of the table; empty unless wanted.
    pub d_table: Vec<f32>,
}

impl Head<'_> {
    fn rows(&self) -> usize {
        self.states.len() / self.width
    }

    fn vocab(&self) -> usize {
        self.table.len() / self.width
    }

    fn table(&self) -> Matrix<'_> {
        Matrix::new(self.table, self.vocab(), self.width)
    }

    fn states(&self, first: usize, rows: usize) -> Matrix<'_> {
        Matrix::new(&self.states[first * self.width..][..rows * self.width], rows, self.width)
    }

    /// Computes logits of some rows, before the softcap.
    fn logits(&self, first: usize, out: &mut [f32]) {
        let rows = out.len() / self.vocab();
        let (left, right) = (self.states(first, rows), self.table().transposed());
        Product { left, right, scale: 1.0, workers: Workers::All }.write(MatrixMut::new(out, rows, self.vocab()));
    }
}

/// Computes the loss, and the wanted gradients.
///
/// # Panics
/// When there are not as many labels and teacher's states as states, or a label is not in the vocabulary.
pub fn cross_entropy(ask: &CrossEntropy<'_>) -> CrossEntropyOutput {
    let (rows, vocab, width) = (ask.head.rows(), ask.head.vocab(), ask.head.width);
    assert_eq!(ask.labels.len(), rows, "every row has a label");
    assert!(ask.labels.iter().all(|&label| (label as usize) < vocab), "labels are in the vocabulary");
    let same = |teacher: Teacher<'_>| teacher.head.rows() == rows && teacher.head.vocab() == vocab;
    assert!(ask.teacher.is_none_or(same), "a teacher has the student's rows and vocabulary");
    let [least, most] = CHUNK_ROWS;
    let chunk_rows = (CHUNK_LOGITS / vocab).clamp(least, most).min(rows.max(1));
    let mut logits = vec![0.0; chunk_rows * vocab];
    let mut teacher_logits = vec![0.0; ask.teacher.map_or(0, |_| logits.len())];
    let mut out = CrossEntropyOutput::default();
    if ask.for_states {
        out.d_states = vec![0.0; rows * width];
    }
    if ask.for_table {
        out.d_table = vec![0.0; vocab * width];
    }
    for first in (0..rows).step_by(chunk_rows) {
        let count = chunk_rows.min(rows - first);
        let logits = &mut logits[..count * vocab];
        ask.head.logits(first, logits);
        let teacher_logits = &mut teacher_logits[..ask.teacher.map_or(0, |_| count * vocab)];
        if let Some(teacher) = ask.teacher {
            teacher.head.logits(first, teacher_logits);
        }
        for row in ask.losses(first, logits, teacher_logits) {
            out.loss += row.loss;
            out.cross_entropy += row.cross_entropy;
            out.correct += usize::from(row.correct);
        }
        ask.backward(first, Matrix::new(logits, count, vocab), &mut out);
    }
    out
}

impl CrossEntropy<'_> {
    /// Computes the losses of a chunk, and replaces its logits by their gradients.
    fn losses(&self, first: usize, logits: &mut [f32], teacher_logits: &mut [f32]) -> Vec<RowLoss> {
        let (isa, vocab) = (Isa::detect(), self.head.vocab());
        let row = |label: u32, logits, teacher| Row {
            logits,
            label: label as usize,
            softcap: self.head.softcap,
            z_loss: self.z_loss,
            teacher,
            gradient: self.for_states || self.for_table,
        };
        let rows = logits.par_chunks_exact_mut(vocab).zip(&self.labels[first..]);
        match self.teacher {
            None => rows.map(|(logits, &label)| row::loss(isa, row(label, logits, None))).collect(),
            Some(Teacher { head: Head { softcap, .. }, temperature, weight }) => rows
                .zip(teacher_logits.par_chunks_exact_mut(vocab))
                .map(|((logits, &label), teacher)| {
                    let teacher = TeacherRow { logits: teacher, softcap, temperature, weight };
                    row::loss(isa, row(label, logits, Some(teacher)))
                })
                .collect(),
        }
    }

    /// Adds a chunk to the gradients of states and table, from its gradients of logits.
    fn backward(&self, first: usize, d_logits: Matrix<'_>, out: &mut CrossEntropyOutput) {
        let (vocab, width, rows) = (self.head.vocab(), self.head.width, d_logits.rows());
        let product = |left, right| Product { left, right, scale: 1.0, workers: Workers::All };
        if self.for_states {
            let d_states = &mut out.d_states[first * width..][..rows * width];
            product(d_logits, self.head.table()).write(MatrixMut::new(d_states, rows, width));
        }
        if self.for_table {
            let states = self.head.states(first, rows);
            product(d_logits.transposed(), states).add(MatrixMut::new(&mut out.d_table, vocab, width));
        }
    }
}

#[cfg(test)]
mod tests;
