//! Costs of a step, kernel by kernel.

use std::time::Duration;

use kernels::cuda::{Cuda, Device};
use kernels::profiled::{Op, Profile};
use kernels::{
    Backend, ChosenRows, Draw, Draws, LinearRows, OutputLayer, Profiled, Sampling, SamplingOps, Storage, Stream,
    WeightFormat,
};

use crate::cases::{matrix, numbers, upload};

const WIDTH: usize = 16;
/// Bytes of a bfloat16.
const HALF: usize = 2;
/// Bytes of a float32.
const WORD: usize = 4;
/// Bytes of the best key of sixteen logits.
const KEY: usize = 8;

/// A measured step computes what it computes otherwise, and each of its kernels has its calls, its bytes and its time.
pub fn a_step_is_timed_kernel_by_kernel<D: Device>(backend: Cuda<D>) {
    const ROWS: usize = 3;
    let profile = Profile::default();
    let x = numbers(61, ROWS * WIDTH);
    let plain = gated(&backend, &x);
    let matrix_bytes = backend.matrix_bytes(&matrix(&backend, 62, (2 * WIDTH, WIDTH), WeightFormat::Bf16));
    let backend = Profiled::new(backend, profile.clone());
    assert_eq!(gated(&backend, &x), plain);
    assert!(profile.is_by_device());
    let mut costs = profile.take();
    costs.retain(|op, _| op.kernel.is_some());
    let ops: Vec<Op> = costs.keys().map(|op| Op { kernel: None, ..*op }).collect();
    assert_eq!(ops, [Op::of("geglu"), Op { matrix: Some((WIDTH, 2 * WIDTH)), ..Op::of("linear") }]);
    assert!(costs.keys().last().unwrap().kernel.unwrap().starts_with("product_8x"), "{costs:?}");
    let [geglu, linear] = [0, 1].map(|index| *costs.values().nth(index).unwrap());
    // Two products with the same matrix, one to bfloat16 rows and one to float32 rows that have their best keys beside
    // them.
    let read = 2 * (matrix_bytes + ROWS * WIDTH * HALF);
    let written = ROWS * 2 * WIDTH * (HALF + WORD) + ROWS * 2 * WIDTH / 16 * KEY;
    assert_eq!((linear.calls, linear.bytes as usize), (2, read + written));
    assert_eq!((geglu.calls, geglu.bytes as usize), (1, ROWS * 3 * WIDTH * HALF));
    assert!([linear, geglu].iter().all(|cost| cost.time > Duration::ZERO), "{costs:?}");
}

/// Two products and a gated activation in one step.
fn gated<B: Backend>(backend: &B, x: &[f32]) -> Vec<f32> {
    let rows = x.len() / WIDTH;
    let weights = matrix(backend, 62, (2 * WIDTH, WIDTH), WeightFormat::Bf16);
    let x = upload(backend, x, WIDTH);
    let mut gate_up = backend.activations(rows, 2 * WIDTH).unwrap();
    let mut out = backend.activations(rows, WIDTH).unwrap();
    let mut wide = backend.wide_activations(rows, 2 * WIDTH).unwrap();
    backend.step(|| {
        backend.linear(&x, &weights, LinearRows::first(rows), &mut wide);
        backend.linear(&x, &weights, LinearRows::first(rows), &mut gate_up);
        backend.geglu(&gate_up, rows, &mut out);
    });
    backend.download(&out, rows)
}

/// A choice among many rows, half of them drawn from all ids, takes a product, the cap, and two kernels that draw.
pub fn kernels_of_one_op_are_told_apart<D: Device>(backend: Cuda<D>) {
    const ROWS: usize = 66;
    const VOCAB: usize = 320;
    let profile = Profile::default();
    let backend = Profiled::new(backend, profile.clone());
    let table = matrix(&backend, 63, (VOCAB, WIDTH), WeightFormat::Bf16);
    let x = upload(&backend, &numbers(64, ROWS * WIDTH), WIDTH);
    let (mut logits, mut drawn) = (backend.wide_activations(ROWS, VOCAB).unwrap(), backend.drawn(ROWS).unwrap());
    let draws = (0..ROWS as u32).map(|row| {
        let sampling = Sampling { temperature: (row % 2) as f32, ..Sampling::GREEDY };
        Draw { sampling, ..Draw::greedy(row) }
    });
    let draws: Vec<Draw> = draws.collect();
    profile.take();
    let output = OutputLayer { table: &table, softcap: Some(30.0) };
    let draws = Draws::free(&draws);
    let to = ChosenRows { logits: &mut logits, ids: &mut drawn };
    backend.step(|| backend.choose(&x, output, draws, to));
    let costs = profile.take();
    let bytes = |kernel| {
        let op = Op { matrix: Some((WIDTH, VOCAB)), kernel: Some(kernel), ..Op::of("choose") };
        let cost = costs.get(&op).unwrap_or_else(|| panic!("{kernel} of {costs:?}"));
        assert!(cost.calls == 1 && cost.time > Duration::ZERO);
        cost.bytes as usize
    };
    let (logit_bytes, best_bytes) = (ROWS * VOCAB * WORD, ROWS * VOCAB / 16 * KEY);
    assert_eq!(bytes("cuBLASLt"), backend.matrix_bytes(&table) + ROWS * WIDTH * HALF + logit_bytes);
    assert_eq!(bytes("softcap_rows"), 2 * logit_bytes + best_bytes);
    assert_eq!(bytes("weigh_parts"), logit_bytes / 2);
    // Of the rows that were weighed in eight parts, one part each.
    assert_eq!(bytes("sample"), best_bytes + logit_bytes / 2 / 8);
    assert_eq!(costs.len(), 4, "{costs:?}");
}
