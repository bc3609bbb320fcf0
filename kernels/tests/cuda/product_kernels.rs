//! The kernels that compute the same product.

use kernels::cuda::{Cuda, Shim};
use kernels::{
    Draw, Draws, GatedRows, LinearRows, MatrixUse, OutputLayer, ProductOps, Scheme, Storage, WeightFormat, WeightPart,
};

use crate::cases::{self, matrix, numbers, upload};

/// Results of products with the same numbers.
#[derive(PartialEq)]
struct Products {
    logits: Vec<f32>,
    gated: Vec<f32>,
    best: Vec<Option<u32>>,
}

/// Products of `rows` rows on a shim whose schedule decides which kernels it calls the fastest.
fn products(schedule: u64, rows: usize, format: WeightFormat) -> Products {
    const COLS: usize = 200;
    const VOCAB: usize = 130;
    const GATED: usize = 72;
    let backend = Cuda::new(Shim::new(schedule << 32)).unwrap();
    let x = upload(&backend, &numbers(70, rows * COLS), COLS);
    let table = matrix(&backend, 71, (VOCAB, COLS), format);
    let gate_and_up = WeightPart::Random { rows: 2 * GATED, cols: COLS, seed: 72, deviation: 0.5 };
    let gate_and_up = backend.matrix(&[gate_and_up], format, MatrixUse::Gated).unwrap();
    let mut logits = backend.wide_activations(rows, VOCAB).unwrap();
    backend.logits(&x, OutputLayer { table: &table, softcap: Some(5.0) }, rows, &mut logits);
    let mut pairs = backend.activations(rows, 2 * GATED).unwrap();
    let mut gated = backend.activations(rows, GATED).unwrap();
    let to = GatedRows { gate_up: &mut pairs, out: &mut gated };
    backend.linear_geglu(&x, &gate_and_up, LinearRows::first(rows), to);
    let draws: Vec<Draw> = (0..rows as u32).map(Draw::greedy).collect();
    let best = cases::drawn_ids(&backend, &logits, Draws::free(&draws));
    Products { logits: backend.download(&logits, rows), gated: backend.download(&gated, rows), best }
}

/// A device measures which kernel of a product is the fastest; the shim draws one from its schedule. Eight schedules
/// draw each of the up to three that there are.
#[test]
fn every_kernel_of_a_product_gives_the_same_bits() {
    for format in [WeightFormat::Bf16, WeightFormat::Quantized(Scheme::Int8)] {
        for rows in [1, 13, 20, 50] {
            let first = products(0, rows, format);
            let differs = (1..9).find(|&schedule| products(schedule, rows, format) != first);
            assert_eq!(differs, None, "schedule of {rows} rows of {format:?}");
        }
    }
}
