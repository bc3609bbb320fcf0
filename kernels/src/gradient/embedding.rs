//! Lookup of rows of an embedding table, and the table's gradient.
//!
//! Called by the trainer's `embed`. A row's gradient adds up its tokens in their order.

use rayon::prelude::*;

/// Rows of the table that one task adds to.
const TASK_ROWS: usize = 256;
/// Tokens of one task.
const TASK_TOKENS: usize = 64;

/// Tokens to look up.
#[derive(Debug, Clone, Copy)]
pub struct Lookup<'a> {
    /// Number of rows of the table.
    pub ids: &'a [u32],
    /// Width of a row.
    pub width: usize,
    /// Factor of every number.
    pub scale: f32,
}

impl Lookup<'_> {
    /// `table[id] * scale` for each id.
    ///
    /// # Panics
    /// When an id has no row.
    pub fn forward(&self, table: &[f32]) -> Vec<f32> {
        let width = self.width;
        let mut out = vec![0.0; self.ids.len() * width];
        out.par_chunks_mut(TASK_TOKENS * width).zip(self.ids.par_chunks(TASK_TOKENS)).for_each(|(out, ids)| {
            for (out, &id) in out.chunks_exact_mut(width).zip(ids) {
                let row = &table[id as usize * width..][..width];
                out.iter_mut().zip(row).for_each(|(out, value)| *out = value * self.scale);
            }
        });
        out
    }

    /// The gradient of a table of `rows`, from the gradient of the embedded tokens. Memory of rows without a token is
    /// not touched.
    ///
    /// # Panics
    /// When an id has no row or `d_out` is not a row per id.
    pub fn backward(&self, d_out: &[f32], rows: usize) -> Vec<f32> {
        let mut d_table = vec![0.0; rows * self.width];
        self.add_backward(d_out, &mut d_table);
        d_table
    }

    /// Adds to the gradient of a table, from the gradient of the embedded tokens.
    ///
    /// # Panics
    /// When an id has no row or `d_out` is not a row per id.
    pub fn add_backward(&self, d_out: &[f32], d_table: &mut [f32]) {
        let width = self.width;
        assert_eq!(d_out.len(), self.ids.len() * width, "every token has a gradient");
        assert!(self.ids.iter().all(|&id| (id as usize + 1) * width <= d_table.len()), "every id has a row");
        let mut order: Vec<(usize, usize)> = self.ids.iter().map(|&id| id as usize).zip(0..).collect();
        order.sort_unstable();
        d_table.par_chunks_mut(TASK_ROWS * width).enumerate().for_each(|(task, d_rows)| {
            let first = task * TASK_ROWS;
            let start = order.partition_point(|&(id, _)| id < first);
            for &(id, token) in order[start..].iter().take_while(|&&(id, _)| id < first + TASK_ROWS) {
                let d_row = &mut d_rows[(id - first) * width..][..width];
                let incoming = &d_out[token * width..][..width];
                d_row.iter_mut().zip(incoming).for_each(|(sum, value)| *sum += value * self.scale);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradient::tests::{hold_gradient, hold_values, inner, numbers, wide};

    #[test]
    fn a_lookup_and_its_gradient_follow_the_textbook() {
        let (rows, width, ids) = (600, 5, [3, 599, 3, 0, 256, 3, 255]);
        let (table, d_out) = (numbers(rows * width, 1), numbers(ids.len() * width, 2));
        let lookup = Lookup { ids: &ids, width, scale: 1.5 };
        let textbook = |table: &[f64]| -> Vec<f64> {
            ids.iter().flat_map(|&id| table[id as usize * width..][..width].iter().map(|x| 1.5 * x)).collect()
        };
        hold_values(&lookup.forward(&table), &textbook(&wide(&table)));
        let gradient = lookup.backward(&d_out, rows);
        hold_gradient(&gradient, &table, |table| inner(&textbook(table), &d_out));
        let mut sum = vec![0.5; gradient.len()];
        lookup.add_backward(&d_out, &mut sum);
        assert!(sum.iter().zip(&gradient).all(|(sum, own)| (sum - 0.5 - own).abs() < 1e-6));
    }

    #[test]
    fn no_tokens_give_no_gradient() {
        assert_eq!(Lookup { ids: &[], width: 3, scale: 1.0 }.backward(&[], 2), [0.0; 6]);
    }
}
