//! The speed of large products, measured on any backend: the ceiling for encoder and training steps.

use std::time::Instant;

use crate::{Backend, LinearRows, MatrixUse, Precision, Result, WeightPart};

/// Inputs and outputs of the product, more than any model's have.
const COLS: usize = 8192;
/// Rows of the product.
const ROWS: usize = 4096;
/// Products, the fastest of which counts.
const REPEATS: usize = 5;

/// Multiplications and additions a second, of two numbers each, that `backend` does in a large product.
///
/// # Errors
/// When there is no memory to measure with.
pub fn products_per_s<B: Backend>(backend: &B, precision: Precision) -> Result<f64> {
    let part = WeightPart::Random { rows: COLS, cols: COLS, seed: 1, deviation: 1.0 };
    let matrix = backend.matrix(&[part], precision.into(), MatrixUse::Multiply)?;
    let (mut x, mut out) = (backend.activations(ROWS, COLS)?, backend.activations(ROWS, COLS)?);
    // Zeros would be multiplied faster, because they cost less power.
    let mut values = vec![0.0; ROWS * COLS];
    WeightPart::Random { rows: 1, cols: values.len(), seed: 2, deviation: 1.0 }.read_row(0, &mut values);
    backend.upload(&values, &mut x);
    let mut best = f64::INFINITY;
    for _ in 0..REPEATS {
        backend.wait();
        let start = Instant::now();
        backend.linear(&x, &matrix, LinearRows::first(ROWS), &mut out);
        backend.wait();
        best = best.min(start.elapsed().as_secs_f64());
    }
    Ok(2.0 * (ROWS * COLS * COLS) as f64 / best)
}
