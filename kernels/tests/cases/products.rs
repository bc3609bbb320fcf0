//! Products with matrices.

use kernels::{Backend, GatedRows, LinearRows, MatrixUse, OutputLayer, ProductOps, Storage, WeightFormat, WeightPart};

use super::numbers::{matrix, numbers, upload};
use super::runner::{Runner, both};

/// Products by rows, input and output features.
pub const PRODUCTS: [(usize, usize, usize); 8] =
    [(1, 8, 5), (1, 512, 200), (2, 33, 64), (5, 48, 65), (6, 64, 192), (7, 30, 130), (13, 96, 256), (450, 16, 96)];

pub fn linear_and_logits_follow_the_reference<B: Backend>(run: &Runner<'_, B>) {
    for (rows, cols, outputs) in PRODUCTS {
        let x = numbers(1, rows * cols);
        both!(run, 2e-6, |backend| {
            let weights = matrix(backend, 2, (outputs, cols), run.precision);
            let mut out = backend.activations(rows, outputs).unwrap();
            backend.linear(&upload(backend, &x, cols), &weights, LinearRows::first(rows), &mut out);
            backend.download(&out, rows)
        });
        both!(run, 2e-6, |backend| {
            let weights = matrix(backend, 3, (outputs, cols), run.precision);
            let mut out = backend.wide_activations(rows, outputs).unwrap();
            let output = OutputLayer { table: &weights, softcap: Some(2.0) };
            backend.logits(&upload(backend, &x, cols), output, rows, &mut out);
            backend.download(&out, rows)
        });
    }
}

pub fn linear_reads_rows_from_an_offset_and_fused_parts_stand_side_by_side<B: Backend>(run: &Runner<'_, B>) {
    let parts = [
        WeightPart::Random { rows: 40, cols: 24, seed: 5, deviation: 0.1 },
        WeightPart::Random { rows: 30, cols: 24, seed: 6, deviation: 0.1 },
    ];
    for count in [4, 70] {
        let x = numbers(4, (5 + count) * 24);
        both!(run, 2e-6, |backend| {
            let weights = backend.matrix(&parts, run.precision.into(), MatrixUse::Multiply).unwrap();
            let mut out = backend.activations(2 + count, 70).unwrap();
            backend.linear(&upload(backend, &x, 24), &weights, LinearRows { from: 5, to: 2, count }, &mut out);
            backend.download(&out, 2 + count)
        });
    }
}

/// Weights of a gated product.
fn halves(width: usize, cols: usize) -> WeightPart<'static> {
    WeightPart::Random { rows: 2 * width, cols, seed: 51, deviation: 0.5 }
}

/// A gated product gives what its parts give, row by row.
pub fn gated_products_follow_the_reference<B: Backend>(run: &Runner<'_, B>) {
    for (rows, cols, width) in [(1, 40, 24), (9, 96, 72), (33, 32, 40), (70, 64, 16), (1, 48, 64), (40, 64, 128)] {
        let x = numbers(50, (rows + 2) * cols);
        both!(run, 2e-6, |backend| {
            let weights = backend.matrix(&[halves(width, cols)], run.precision.into(), MatrixUse::Gated).unwrap();
            let (mut gate_up, mut out) =
                (backend.activations(rows, 2 * width).unwrap(), backend.activations(rows, width).unwrap());
            let read = LinearRows { from: 2, to: 0, count: rows };
            let to = GatedRows { gate_up: &mut gate_up, out: &mut out };
            backend.linear_geglu(&upload(backend, &x, cols), &weights, read, to);
            backend.download(&out, rows)
        });
    }
}

/// A gated product gives the bits of a product with the same weights and of the activation after it.
pub fn gated_products_have_the_bits_of_their_parts<B: Backend>(backend: &B, format: WeightFormat, label: &str) {
    for (rows, cols, width) in [(1, 96, 128), (2, 40, 24), (9, 64, 192), (40, 96, 64), (230, 32, 64)] {
        let x = upload(backend, &numbers(52, rows * cols), cols);
        let (mut gate_up, mut expected) =
            (backend.activations(rows, 2 * width).unwrap(), backend.activations(rows, width).unwrap());
        let stacked = backend.matrix(&[halves(width, cols)], format, MatrixUse::Multiply).unwrap();
        backend.linear(&x, &stacked, LinearRows::first(rows), &mut gate_up);
        backend.geglu(&gate_up, rows, &mut expected);
        let gated = backend.matrix(&[halves(width, cols)], format, MatrixUse::Gated).unwrap();
        let mut out = backend.activations(rows, width).unwrap();
        let to = GatedRows { gate_up: &mut gate_up, out: &mut out };
        backend.linear_geglu(&x, &gated, LinearRows::first(rows), to);
        let (out, expected) = (backend.download(&out, rows), backend.download(&expected, rows));
        assert_eq!(out, expected, "{label}, {rows} x {cols} x {width}");
    }
}
