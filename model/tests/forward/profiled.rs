//! A model on the measuring backend: the same tokens, and every op with its calls and bytes.

use std::collections::BTreeMap;

use crate::fixture::DemoRow;
use crate::runner::Runner;
use kernels::cpu::{Cpu, Isa};
use kernels::profiled::{Cost, Op, Profile};
use kernels::{Backend, MatrixUse, PAGE_TOKENS, Precision, ProductOps, Profiled, Storage, WeightPart};
use model::Checkpoint;

const TOKENS: usize = 5;
const SOURCES: [usize; 2] = [25, 7];

fn greedy<B: Backend>(runner: &mut Runner<B>) -> Vec<Vec<u32>> {
    let rows = DemoRow::all();
    let sources: Vec<&[u32]> = rows.iter().zip(SOURCES).map(|(row, len)| &row.input_ids[..len]).collect();
    let (_, mut sequences) = runner.encode(&sources, 1);
    runner.greedy(&mut sequences, TOKENS);
    sequences.into_iter().map(|sequence| sequence.tokens).collect()
}

fn measured(precision: Precision) -> (Runner<Profiled<Cpu>>, Profile, BTreeMap<Op, Cost>) {
    let source = Checkpoint::embedded().unwrap();
    let plain = greedy(&mut Runner::new(Cpu::new(Isa::detect(), 2), &source, precision, 2));
    let profile = Profile::default();
    let backend = Profiled::new(Cpu::new(Isa::detect(), 2), profile.clone());
    let mut runner = Runner::new(backend, &source, precision, 2);
    assert!(profile.take().is_empty(), "loading runs no op");
    assert_eq!(greedy(&mut runner), plain);
    let costs = profile.take();
    (runner, profile, costs)
}

#[test]
fn a_measured_model_writes_the_same_tokens_and_every_op_that_runs_is_listed() {
    let (_, profile, costs) = measured(Precision::Bf16);
    let names: Vec<&str> = costs.keys().map(|op| op.name).collect();
    for op in [
        "attend_full",
        "attend_paged",
        "download",
        "embed",
        "gather",
        "linear",
        "linear_geglu",
        "logits",
        "rms_norm",
        "rope",
        "rope_and_write",
        "sample",
        "sandwich",
        "score",
        "write_pages",
    ] {
        assert!(names.contains(&op), "{op} of {names:?}");
    }
    assert!(costs.values().all(|cost| cost.calls > 0 && cost.bytes > 0));
    assert!(profile.take().is_empty(), "what was taken is not counted again");
}

#[test]
fn calls_and_bytes_are_those_of_the_model() {
    for precision in [Precision::F32, Precision::Bf16] {
        let (runner, _, costs) = measured(precision);
        let (config, batch) = (runner.model.config(), SOURCES.len());
        let (encoder, decoder) = (&config.encoder, &config.decoder);
        let cost = |name| costs[&Op::of(name)];
        assert_eq!(cost("embed").calls as usize, 1 + TOKENS);
        assert_eq!(cost("attend_full").calls as usize, encoder.layers);
        assert_eq!(cost("attend_paged").calls as usize, 2 * decoder.layers * TOKENS);
        let own: usize = batch * (1..=TOKENS).sum::<usize>();
        let cross: usize = SOURCES.iter().sum::<usize>() * TOKENS;
        let position_bytes = runner.model.page_bytes() / decoder.layers / PAGE_TOKENS;
        let rows = 2 * TOKENS * batch * 2 * decoder.query_width() * 4;
        let expected = decoder.layers * ((own + cross) * position_bytes + rows);
        assert_eq!(cost("attend_paged").bytes as usize, expected);
        let number_bytes = if precision == Precision::F32 { 4 } else { 2 };
        let logits = costs[&Op { matrix: Some((decoder.hidden, decoder.vocab)), ..Op::of("logits") }];
        let table = decoder.hidden * decoder.vocab.next_multiple_of(64) * number_bytes;
        let activations = batch * (decoder.hidden + decoder.vocab) * 4;
        assert_eq!(logits, Cost { calls: TOKENS as u64, bytes: (TOKENS * (table + activations)) as u64, ..logits });
    }
}

#[test]
fn the_bytes_of_a_product_are_its_matrix_and_its_rows() {
    let profile = Profile::default();
    let backend = Profiled::new(Cpu::new(Isa::detect(), 1), profile.clone());
    let part = WeightPart::Random { rows: 128, cols: 48, seed: 1, deviation: 1.0 };
    let matrix = backend.matrix(&[part, part], Precision::Bf16.into(), MatrixUse::Multiply).unwrap();
    assert_eq!(backend.matrix_bytes(&matrix), 2 * 256 * 48);
    let (x, mut out) = (backend.activations(8, 48).unwrap(), backend.activations(8, 256).unwrap());
    for _ in 0..3 {
        backend.linear(&x, &matrix, kernels::LinearRows::first(8), &mut out);
    }
    let costs = profile.take();
    let (op, cost) = costs.first_key_value().unwrap();
    assert_eq!((op.name, op.matrix, costs.len()), ("linear", Some((48, 256)), 1));
    assert_eq!((cost.calls, cost.bytes), (3, 3 * (2 * 256 * 48 + 8 * (48 + 256) * 4)));
}
