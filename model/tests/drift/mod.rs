//! How far a model's answers lie from others: forced targets, their logits, and what the differences come to.
//!
//! Shared by this crate's tests of every arithmetic but float32, each of which uses part of it.
#![allow(dead_code, clippy::unwrap_used)]

use kernels::{Backend, Segment};
use model::{Arithmetic, Model, SourceRows, WeightSource, WorkspaceLimits};

use crate::fixture::{Case, DemoRow};
use crate::runner::Runner;

/// How far two sets of numbers lie apart.
#[derive(Debug, Clone, Copy)]
pub struct Distance {
    pub largest: f32,
    pub root_mean_square: f32,
}

/// A source with a forced target, the start token first.
pub struct Text {
    pub source: Vec<u32>,
    pub target: Vec<u32>,
}

/// All cases of a tiny checkpoint.
pub fn fixture_texts(folder: &str) -> Vec<Text> {
    Case::all(folder).into_iter().map(|c| Text { source: c.input_ids, target: c.decoder_input_ids }).collect()
}

/// The demo's texts with their synopses as targets: the logits of row `i` choose `greedy_ids[i]`.
pub fn demo_texts(source: &dyn WeightSource, rows: &[DemoRow]) -> Vec<Text> {
    let text = |row: &DemoRow| {
        let written = &row.greedy_ids[..row.greedy_ids.len() - 1];
        Text { source: row.input_ids.clone(), target: [&[source.config().start_token], written].concat() }
    };
    rows.iter().map(text).collect()
}

/// Logits of all target positions of each text.
pub fn forced<B: Backend>(
    backend: B,
    source: &dyn WeightSource,
    arithmetic: impl Into<Arithmetic>,
    texts: &[Text],
) -> Vec<Vec<f32>> {
    let mut runner = Runner::new(backend, source, arithmetic, 1);
    let logits = |text: &Text| {
        let (_, mut sequences) = runner.encode(&[&text.source], usize::MAX);
        sequences[0].tokens.clone_from(&text.target);
        let rows = runner.step(&sequences, |_| 0);
        runner.model.read_logits(rows, &runner.space)
    };
    texts.iter().map(logits).collect()
}

/// States after the first encoder layer, as the next layer reads them.
pub fn first_layer<B: Backend>(
    backend: B,
    weights: &dyn WeightSource,
    arithmetic: impl Into<Arithmetic>,
    source: &[u32],
) -> Vec<f32> {
    let model = Model::load(backend, weights, arithmetic, &mut |_| ()).unwrap();
    let limits = WorkspaceLimits { lane_rows: [source.len(), 0], target_rows: 1, logits_rows: 1 };
    let mut space = model.workspace(limits).unwrap();
    let positions: Vec<u32> = (0..source.len() as u32).collect();
    let segments = &[Segment { start: 0, len: source.len() as u32 }];
    model.encode(SourceRows { tokens: source, positions: &positions, segments }, 0..1, 0, &mut space);
    model.encoder_states(source.len(), 0, &space)
}

/// Over all numbers of all texts.
pub fn distance(actual: &[Vec<f32>], expected: &[Vec<f32>]) -> Distance {
    let (mut largest, mut squares, mut count) = (0.0_f32, 0.0, 0);
    for (actual, expected) in actual.iter().zip(expected) {
        assert_eq!(actual.len(), expected.len());
        count += actual.len();
        for (a, e) in actual.iter().zip(expected) {
            assert!(a.is_finite() && e.is_finite());
            largest = largest.max((a - e).abs());
            squares += f64::from(a - e).powi(2);
        }
    }
    Distance { largest, root_mean_square: (squares / count as f64).sqrt() as f32 }
}

/// Fails with both where a distance exceeds its bound.
#[track_caller]
pub fn assert_within(actual: Distance, bound: Distance, label: &str) {
    let within = actual.largest <= bound.largest && actual.root_mean_square <= bound.root_mean_square;
    assert!(within, "{label}: {actual:?}, allowed are {bound:?}");
}

fn log_softmax(logits: &[f32]) -> Vec<f64> {
    let sum: f64 = logits.iter().map(|&z| f64::from(z).exp()).sum();
    logits.iter().map(|&z| f64::from(z) - sum.ln()).collect()
}

/// The lowest of the best ids.
fn argmax(logits: &[f32]) -> u32 {
    let best = (0..logits.len()).rev().max_by(|&a, &b| logits[a].total_cmp(&logits[b]));
    best.unwrap() as u32
}

/// How far the demo's synopses are from float32's.
#[derive(Debug, Clone, Copy)]
pub struct Drift {
    /// Mean over all tokens of the divergence of the distribution from float32's, in nats.
    pub mean_divergence: f64,
    /// Largest difference of a written token's log-probability, in nats.
    pub largest_log_prob: f64,
    /// Synopses that stay as they are, token for token.
    pub identical: usize,
}

/// Compares logits of the demo's forced synopses with those of float32. Greedy decoding writes a synopsis again exactly
/// if each of its tokens is the best one after those before it, so forced targets tell how many synopses stay.
pub fn drift(rows: &[DemoRow], exact: &[Vec<f32>], actual: &[Vec<f32>], vocab: usize) -> Drift {
    let (mut divergence, mut tokens, mut largest, mut identical) = (0.0, 0, 0.0_f64, 0);
    for ((row, exact), actual) in rows.iter().zip(exact).zip(actual) {
        let mut same = true;
        for ((exact, actual), &id) in exact.chunks(vocab).zip(actual.chunks(vocab)).zip(&row.greedy_ids) {
            same &= argmax(actual) == id;
            let (exact, actual) = (log_softmax(exact), log_softmax(actual));
            divergence += exact.iter().zip(&actual).map(|(e, a)| e.exp() * (e - a)).sum::<f64>();
            largest = largest.max((exact[id as usize] - actual[id as usize]).abs());
            tokens += 1;
        }
        identical += usize::from(same);
    }
    Drift { mean_divergence: divergence / f64::from(tokens), largest_log_prob: largest, identical }
}
