//! Products: a row's result, and weights of a byte.

use std::ops::Range;

use kernels::cuda::{Cuda, Device};
use kernels::reference::{Reference, Rounding};
use kernels::{Backend, DType, LinearRows, MatrixUse, Scheme, Stream, WeightFormat, WeightPart};

use crate::ROWS;
use crate::cases::{self, Slack, matrix, numbers, upload};

/// Tolerance of products with int8 weights that are scaled and rounded to bfloat16 first. Measured: 5.9e-4.
const WIDENED: f32 = 1e-3;

const COLS: usize = 200;
const OUTPUTS: usize = 130;

/// Products of some rows of `x`, taken alone.
fn products_of<B: Backend>(backend: &B, weights: &B::Matrix, x: &[f32], rows: Range<usize>) -> Vec<f32> {
    let mut out = backend.wide_activations(rows.len(), OUTPUTS).unwrap();
    let own = upload(backend, &x[rows.start * COLS..rows.end * COLS], COLS);
    backend.linear(&own, weights, LinearRows::first(rows.len()), &mut out);
    backend.download(&out, rows.len())
}

/// Rows taken alone give the bits that they give among rows `0 .. among`.
fn rows_alone_equal_rows_among<D: Device>(backend: &Cuda<D>, among: usize, alone: &[Range<usize>]) {
    let x = numbers(20, among * COLS);
    let weights = matrix(backend, 21, (OUTPUTS, COLS), WeightFormat::Bf16);
    let all = products_of(backend, &weights, &x, 0..among);
    for rows in alone {
        let expected = &all[rows.start * OUTPUTS..rows.end * OUTPUTS];
        assert_eq!(products_of(backend, &weights, &x, rows.clone()), expected, "rows {rows:?} of {among}");
    }
}

/// The promise of a backend holds among up to 64 rows, and among more.
pub fn a_row_alone_equals_the_row_among_others<D: Device>(backend: &Cuda<D>) {
    let few = [0..1, 3..4, 63..64, 5..13, 0..9, 2..16, 10..27, 0..32, 20..53];
    rows_alone_equal_rows_among(backend, 64, &few);
    rows_alone_equal_rows_among(backend, 300, &[0..65, 100..217, 3..290]);
}

/// A deterministic backend keeps the promise for any two numbers of rows.
pub fn all_rows_are_multiplied_alike_where_that_is_asked_for<D: Device>(backend: Cuda<D>) {
    rows_alone_equal_rows_among(&backend.deterministic(), 150, &[0..1, 30..33, 7..23, 4..137]);
}

/// Rows times an int8 matrix whose parts are quantised at load, stored quantised, and random.
fn multiplied_with_int8<B: Backend>(backend: &B, count: usize) -> Vec<f32> {
    let (cols, outputs) = (COLS, 70);
    let stored: Vec<u8> = numbers(22, 30 * cols).iter().flat_map(|w| w.to_le_bytes()).collect();
    let (mut integers, mut scales) = (vec![0; 30 * cols], vec![0; 30 * 4]);
    for (row, values) in numbers(23, 30 * cols).chunks(cols).enumerate() {
        let own = (&mut integers[row * cols..][..cols], &mut scales[row * 4..][..4]);
        kernels::quantize::quantize_row(Scheme::Int8, values, own.0, own.1);
    }
    let parts = [
        WeightPart::Stored { rows: 30, cols, dtype: DType::F32, bytes: &stored },
        WeightPart::Quantized { rows: 30, cols, scheme: Scheme::Int8, integers: &integers, scales: &scales },
        WeightPart::Random { rows: 10, cols, seed: 24, deviation: 0.7 },
    ];
    let weights = backend.matrix(&parts, WeightFormat::Quantized(Scheme::Int8), MatrixUse::Multiply).unwrap();
    let mut out = backend.activations(count, outputs).unwrap();
    let x = upload(backend, &numbers(25, count * cols), cols);
    backend.linear(&x, &weights, LinearRows::first(count), &mut out);
    backend.download(&out, count)
}

/// Few rows are multiplied with the integers themselves, many with the weights widened to bfloat16, which rounds them.
pub fn products_with_weights_of_a_byte_follow_the_reference<D: Device>(backend: Cuda<D>) {
    follow_the_reference(&backend, &[1, 8, 9, 16, 17, 40, 64], ROWS);
    follow_the_reference(&backend, &[65], WIDENED);
    follow_the_reference(&backend.deterministic(), &[65, 140], ROWS);
}

fn follow_the_reference<D: Device>(backend: &Cuda<D>, counts: &[usize], root_mean_square: f32) {
    for &count in counts {
        let expected = multiplied_with_int8(&Reference { rounding: Rounding::Rows }, count);
        let slack = Slack { largest: 1.0 / 128.0, root_mean_square };
        let label = format!("{count} rows on {}", backend.describe());
        cases::assert_close(&label, &multiplied_with_int8(backend, count), &expected, slack);
    }
}

/// Bit for bit among the kernels of few rows; the device's library may choose another algorithm for fewer columns.
pub fn columns_of_a_range_are_those_of_the_whole_product<D: Device>(backend: &Cuda<D>) {
    let formats = [WeightFormat::Bf16, WeightFormat::Quantized(Scheme::Int8)];
    cases::columns_of_a_range_are_those_of_the_whole_product(backend, &formats, &[1, 9, 40, 64]);
}
