//! A sequence's numbers do not depend on its neighbours: alone, in any batch and on any number of threads, bit for
//! bit, through the whole model.

use crate::fixture::{self, Case, DemoRow};
use crate::runner::Runner;
use kernels::cpu::{Cpu, Isa};
use kernels::{KvFormat, Precision, Scheme};
use model::{Arithmetic, Checkpoint};

/// Target positions that are compared: the start token and one more, so that 32 sequences fill a step of 64 rows.
const POSITIONS: usize = 2;

/// Around the borders of tiles (6 rows), pages (16 positions), panels and the demo's window (64), and across them.
const SOURCE_LENS: [usize; 8] = [1, 2, 6, 7, 16, 17, 5, 30];

/// Five sliding layers and a full one.
const SECOND: &str = "t5gemma2-scaled";

struct Text {
    source: Vec<u32>,
    target: Vec<u32>,
}

/// 32 sources, cut or repeated to ragged lengths, two of them long; each comes with the first token of its target.
fn texts(start_token: u32, sources: impl Iterator<Item = (Vec<u32>, u32)>) -> Vec<Text> {
    let lens = [130, 65].into_iter().chain(SOURCE_LENS.into_iter().cycle());
    let text = |((source, first), len): ((Vec<u32>, u32), usize)| Text {
        source: source.into_iter().cycle().take(len).collect(),
        target: vec![start_token, first],
    };
    sources.zip(lens).take(32).map(text).collect()
}

/// Results of the model for one text, as bits.
#[derive(PartialEq)]
struct Bits {
    states: Vec<u32>,
    /// Logits of each position.
    logits: Vec<Vec<u32>>,
}

fn bits(numbers: &[f32]) -> Vec<u32> {
    numbers.iter().map(|number| number.to_bits()).collect()
}

/// Encodes the texts in one batch and decodes them side by side, position by position, or all positions in one step.
fn run(runner: &mut Runner<Cpu>, texts: &[Text], stepwise: bool) -> Vec<Bits> {
    let sources: Vec<&[u32]> = texts.iter().map(|text| &text.source[..]).collect();
    let (states, mut sequences) = runner.encode(&sources, usize::MAX);
    let (hidden, vocab) = (runner.model.config().encoder.hidden, runner.model.config().decoder.vocab);
    let mut rest = &states[..];
    let mut out: Vec<Bits> = Vec::new();
    for source in sources {
        let (own, others) = rest.split_at(source.len() * hidden);
        out.push(Bits { states: bits(own), logits: Vec::new() });
        rest = others;
    }
    let ends = if stepwise { 1..=POSITIONS } else { POSITIONS..=POSITIONS };
    for end in ends {
        for (sequence, text) in sequences.iter_mut().zip(texts) {
            sequence.tokens = text.target[..end].to_vec();
        }
        let first = if stepwise { end - 1 } else { 0 };
        let rows = runner.step(&sequences, |_| first);
        let logits = runner.model.read_logits(rows, &runner.space);
        for (out, logits) in out.iter_mut().zip(logits.chunks((end - first) * vocab)) {
            out.logits.extend(logits.chunks(vocab).map(bits));
        }
    }
    out
}

/// On the demo.
fn check(isa: Isa, arithmetic: impl Into<Arithmetic>) {
    let checkpoint = Checkpoint::embedded().unwrap();
    let rows = DemoRow::all().into_iter().map(|row| (row.input_ids, row.greedy_ids[0]));
    check_on(&checkpoint, texts(checkpoint.config().start_token, rows), isa, arithmetic.into());
}

/// On a checkpoint of the second generation, whose attention is merged.
fn check_second(isa: Isa, arithmetic: impl Into<Arithmetic>) {
    let checkpoint = Checkpoint::open(&fixture::path(SECOND)).unwrap();
    let cases: Vec<_> = Case::all(SECOND).into_iter().map(|case| (case.input_ids, case.greedy_ids[0])).collect();
    let texts = texts(checkpoint.config().start_token, cases.into_iter().cycle());
    check_on(&checkpoint, texts, isa, arithmetic.into());
}

fn check_on(checkpoint: &Checkpoint, texts: Vec<Text>, isa: Isa, arithmetic: Arithmetic) {
    let runners = [1, 2].map(|threads| Runner::new(Cpu::new(isa, threads), checkpoint, arithmetic, 32));
    let [mut single, mut double] = runners;
    let alone: Vec<Bits> = texts.iter().flat_map(|text| run(&mut single, std::slice::from_ref(text), true)).collect();
    for (first, count, threads, stepwise) in
        [(0, 1, 2, true), (3, 7, 1, true), (11, 7, 2, false), (0, 32, 1, true), (0, 32, 2, true), (0, 32, 2, false)]
    {
        let runner = if threads == 1 { &mut single } else { &mut double };
        let together = run(runner, &texts[first..first + count], stepwise);
        for (index, (alone, together)) in alone[first..].iter().zip(&together).enumerate() {
            let label = format!(
                "{}, {arithmetic}, text {index} of {count}, {threads} threads, stepwise: {stepwise}",
                isa.level().name()
            );
            assert_eq!(alone.logits.len(), POSITIONS);
            assert!(alone.states == together.states, "{label}: encoder states differ");
            assert!(alone.logits == together.logits, "{label}: logits differ");
        }
    }
}

#[test]
fn a_sequence_alone_is_the_sequence_in_any_batch_on_any_number_of_threads_in_float32() {
    Isa::all().for_each(|isa| check(isa, Precision::F32));
}

#[test]
fn a_sequence_alone_is_the_sequence_in_any_batch_on_any_number_of_threads_in_bf16() {
    Isa::all().for_each(|isa| check(isa, Precision::Bf16));
}

#[test]
fn a_sequence_alone_is_the_sequence_in_any_batch_on_any_number_of_threads_with_cross_kv_in_int8() {
    let arithmetic = Arithmetic { cross_kv: KvFormat::Int8, ..Precision::Bf16.into() };
    Isa::all().for_each(|isa| check(isa, arithmetic));
}

#[test]
fn a_sequence_alone_is_the_sequence_in_any_batch_on_any_number_of_threads_in_int8() {
    let arithmetic = Arithmetic { quantize: Some(Scheme::Int8), ..Precision::Bf16.into() };
    Isa::all().for_each(|isa| check(isa, arithmetic));
}

#[test]
fn a_sequence_alone_is_the_sequence_in_any_batch_on_any_number_of_threads_in_int4() {
    let arithmetic = Arithmetic { quantize: Some(Scheme::Int4), ..Precision::Bf16.into() };
    Isa::all().for_each(|isa| check(isa, arithmetic));
}

#[test]
fn merged_attention_does_not_depend_on_neighbours_and_threads_in_any_arithmetic() {
    let quantized = |scheme| Arithmetic { quantize: Some(scheme), ..Precision::Bf16.into() };
    for isa in Isa::all() {
        for precision in [Precision::F32, Precision::Bf16] {
            check_second(isa, precision);
            check_second(isa, Arithmetic { cross_kv: KvFormat::Int8, ..precision.into() });
        }
        check_second(isa, quantized(Scheme::Int8));
        check_second(isa, Arithmetic { cross_kv: KvFormat::Int8, ..quantized(Scheme::Int4) });
    }
}
