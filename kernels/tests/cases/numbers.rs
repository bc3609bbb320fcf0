//! Reproducible numbers, and rows and weights made of them.

use kernels::{Backend, DType, MatrixUse, WeightFormat, WeightPart};

/// Reproducible numbers in `-1 .. 1`.
pub fn numbers(seed: u64, count: usize) -> Vec<f32> {
    let mut out = vec![0.0; count];
    WeightPart::Random { rows: 1, cols: count, seed, deviation: 0.577 }.read_row(0, &mut out);
    out
}

/// Little-endian bytes of float32 numbers.
pub fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

/// Rows of the numbers that the backend computes with.
pub fn upload<B: Backend>(backend: &B, values: &[f32], width: usize) -> B::Activations {
    let mut rows = backend.activations(values.len() / width, width).unwrap();
    backend.upload(values, &mut rows);
    rows
}

/// Rows of float32.
pub fn upload_wide<B: Backend>(backend: &B, values: &[f32], width: usize) -> B::Activations {
    let mut rows = backend.wide_activations(values.len() / width, width).unwrap();
    backend.upload(values, &mut rows);
    rows
}

/// A weight of float32 numbers.
pub fn stored(rows: usize, cols: usize, bytes: &[u8]) -> WeightPart<'_> {
    WeightPart::Stored { rows, cols, dtype: DType::F32, bytes }
}

/// Random weights.
pub fn matrix<B: Backend>(
    backend: &B,
    seed: u64,
    (rows, cols): (usize, usize),
    format: impl Into<WeightFormat>,
) -> B::Matrix {
    let part = WeightPart::Random { rows, cols, seed, deviation: 0.5 };
    backend.matrix(&[part], format.into(), MatrixUse::Multiply).unwrap()
}
