//! The model against Hugging Face transformers 5.17: states, logits, greedy tokens and log-probabilities, in
//! float32 on every instruction set of the machine, and on the reference backend.

use crate::fixture;
use crate::fixture::{BOTH, Case, DemoRow};
use crate::runner;
use crate::runner::Runner;
use kernels::cpu::{Cpu, Isa};
use kernels::reference::{Reference, Rounding};
use kernels::{Backend, Precision};
use model::{Checkpoint, Tokenizer};
use safetensors::SafeTensors;

/// Tolerances that the fixtures were published with (`tests/fixtures/README.md`).
const LOGITS: f32 = 1e-3;
const STATES: f32 = 1e-4;
const LOG_PROBS: f32 = 1e-3;

fn numbers(file: &SafeTensors<'_>, name: &str) -> Vec<f32> {
    let tensor = file.tensor(name).unwrap();
    tensor.data().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

/// All cases of a folder: encoded one by one or together, decoded together.
fn check_folder<B: Backend>(backend: impl Fn() -> B, folder: &str, together: bool, layers_per_call: usize) {
    let checkpoint = Checkpoint::open(&fixture::path(folder)).unwrap();
    let cases = Case::all(folder);
    let bytes = fixture::bytes(&format!("{folder}/expected.safetensors"));
    let expected = SafeTensors::deserialize(&bytes).unwrap();
    let mut runner = Runner::new(backend(), &checkpoint, Precision::F32, cases.len() as u32);
    let batches: Vec<Vec<usize>> =
        if together { vec![(0..cases.len()).collect()] } else { (0..cases.len()).map(|i| vec![i]).collect() };
    for batch in batches {
        let sources: Vec<&[u32]> = batch.iter().map(|&i| &cases[i].input_ids[..]).collect();
        let (states, mut sequences) = runner.encode(&sources, layers_per_call);
        let wanted: Vec<f32> =
            batch.iter().flat_map(|i| numbers(&expected, &format!("{i}.encoder_last_hidden_state"))).collect();
        let largest = wanted.iter().fold(0.0_f32, |max, v| max.max(v.abs()));
        assert_eq!(states.len(), wanted.len());
        for (a, e) in states.iter().zip(&wanted) {
            assert!((a - e).abs() <= STATES * largest, "{folder} {batch:?}: encoder state {a}, expected {e}");
        }
        check_logits(&mut runner, &cases, &batch, &mut sequences, &expected);
        check_greedy(&mut runner, &cases, &batch, &mut sequences);
    }
}

/// Forced targets, all positions of all sequences in steps of at most 64 rows.
fn check_logits<B: Backend>(
    runner: &mut Runner<B>,
    cases: &[Case],
    batch: &[usize],
    sequences: &mut [runner::Sequence],
    expected: &SafeTensors<'_>,
) {
    let vocab = runner.model.config().decoder.vocab;
    for (sequence, &case) in sequences.iter_mut().zip(batch) {
        sequence.tokens.clone_from(&cases[case].decoder_input_ids);
        let rows = runner.step(std::slice::from_ref(sequence), |_| 0);
        let logits = runner.model.read_logits(rows, &runner.space);
        let wanted = numbers(expected, &format!("{case}.logits"));
        assert_eq!(logits.len(), wanted.len());
        for (i, (a, e)) in logits.iter().zip(&wanted).enumerate() {
            assert!((a - e).abs() <= LOGITS, "case {case}, row {}: logit {a}, expected {e}", i / vocab);
        }
        sequence.tokens.truncate(1);
    }
}

fn check_greedy<B: Backend>(
    runner: &mut Runner<B>,
    cases: &[Case],
    batch: &[usize],
    sequences: &mut [runner::Sequence],
) {
    let count = cases[batch[0]].greedy_ids.len();
    let written = runner.greedy(sequences, count);
    for (written, &case) in written.iter().zip(batch) {
        let case = &cases[case];
        for (position, (chosen, top)) in written.iter().enumerate() {
            if chosen.id != case.greedy_ids[position] {
                let gap = top[0].log_prob - top[1].log_prob;
                assert!(gap <= LOGITS, "{:?}: token {position} is {}, gap {gap}", case.text, chosen.id);
                break;
            }
            let error = (chosen.log_prob - case.greedy_logprobs[position]).abs();
            assert!(error <= LOG_PROBS, "{:?}: log-probability of token {position} is off by {error}", case.text);
        }
    }
}

#[test]
fn the_reference_backend_follows_transformers() {
    for folder in BOTH {
        check_folder(|| Reference { rounding: Rounding::Storage }, folder, false, usize::MAX);
    }
}

#[test]
fn every_instruction_set_follows_transformers_alone_and_in_a_ragged_batch() {
    for isa in Isa::all() {
        for folder in BOTH {
            check_folder(|| Cpu::new(isa, 1), folder, false, usize::MAX);
            check_folder(|| Cpu::new(isa, 2), folder, true, usize::MAX);
        }
    }
}

#[test]
fn an_encoder_that_pauses_between_layers_gives_the_same() {
    for folder in BOTH {
        check_folder(|| Cpu::new(Isa::detect(), 2), folder, true, 1);
    }
}

#[test]
fn the_demo_writes_the_references_synopses_token_for_token() {
    let rows = DemoRow::all();
    let checkpoint = Checkpoint::embedded().unwrap();
    let tokenizer = Tokenizer::from_bytes(&checkpoint.tokenizer_json().unwrap().unwrap()).unwrap();
    let mut runner = Runner::new(Cpu::new(Isa::detect(), 2), &checkpoint, Precision::F32, 20);
    for rows in rows.chunks(20) {
        let sources: Vec<Vec<u32>> =
            rows.iter().map(|row| tokenizer.encode_with_special_tokens(&row.input).unwrap()).collect();
        for (source, row) in sources.iter().zip(rows) {
            assert_eq!(source, &row.input_ids, "{:?}", row.input);
        }
        let sources: Vec<&[u32]> = sources.iter().map(|source| &source[..]).collect();
        let (_, mut sequences) = runner.encode(&sources, usize::MAX);
        let written = runner.greedy(&mut sequences, 48);
        for (written, row) in written.iter().zip(rows) {
            let ids: Vec<u32> = written.iter().take(row.greedy_ids.len()).map(|(chosen, _)| chosen.id).collect();
            assert_eq!(ids, row.greedy_ids, "{:?}", row.input);
            for ((chosen, _), expected) in written.iter().zip(&row.greedy_logprobs) {
                assert!((chosen.log_prob - expected).abs() <= LOG_PROBS, "{:?}", row.input);
            }
        }
    }
}
