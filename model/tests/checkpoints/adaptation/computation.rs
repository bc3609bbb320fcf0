//! Adapted checkpoints compute as their sources and as transformers.

use kernels::Precision;
use kernels::cpu::{Cpu, Isa};
use model::Checkpoint;
use model::training::{Network, NetworkOptions};
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;
use tempfile::TempDir;

use super::sources::{NARROW, WIDE, adapted, document, logits, untie};
use crate::fixture;
use crate::fixture::checkpoints::{converted, copied, rewrite};
use crate::runner::Runner;

#[test]
fn an_adapted_model_is_served() {
    for encoder in [NARROW, WIDE] {
        let out = adapted(&fixture::path(encoder), &fixture::path(NARROW));
        let checkpoint = Checkpoint::open(out.path()).unwrap();
        let mut runner = Runner::new(Cpu::new(Isa::detect(), 1), &checkpoint, Precision::F32, 1);
        let (_, mut sequences) = runner.encode(&[&[2, 481, 373, 396, 344]], 1);
        for (score, best) in &runner.greedy(&mut sequences, 8)[0] {
            assert!(score.log_prob.is_finite() && score.log_prob <= 0.0, "{encoder}: {score:?}");
            assert!(best[0].log_prob > best[4].log_prob, "{encoder}: {best:?}");
        }
    }
}

/// The states of an encoder, read by the output table of its source.
fn encoder_logits(network: &Network, source: &[u32]) -> Vec<f32> {
    let states = network.encoder_states(&[source]).unwrap();
    let table = network.parameters()["model.encoder.embed_tokens.weight"].as_tensor();
    let logits = states.matmul(&table.t().unwrap()).unwrap();
    let capped = ((logits / 30.0).unwrap().tanh().unwrap() * 30.0).unwrap();
    capped.flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn an_adapted_encoder_with_a_causal_mask_gives_its_sources_logits() {
    for name in [NARROW, WIDE] {
        let out = adapted(&fixture::path(name), &fixture::path(NARROW));
        let cases: Value = document(&fixture::path(&format!("{name}/cases.json")));
        let source: Vec<u32> = serde_json::from_value(cases[0]["input_ids"].clone()).unwrap();
        let bytes = fixture::bytes(&format!("{name}/expected.safetensors"));
        let expected = SafeTensors::deserialize(&bytes).unwrap();
        let (_, expected) = expected.iter().find(|(name, _)| name.ends_with("logits")).unwrap();
        let expected: Vec<f32> =
            expected.data().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        let farthest = |encoder_causal| {
            let options = NetworkOptions { encoder_causal, ..NetworkOptions::default() };
            let logits = encoder_logits(&Network::open(out.path(), &options).unwrap(), &source);
            assert_eq!(logits.len(), expected.len());
            logits.iter().zip(&expected).map(|(own, theirs)| (own - theirs).abs()).fold(0.0, f32::max)
        };
        assert!(farthest(true) <= 1e-3, "{name}: {}", farthest(true));
        assert!(farthest(false) > 1.0, "{name}: an encoder that sees the whole source is another model");
    }
}

#[test]
fn adapted_checkpoints_load_in_transformers_and_compute_as_here() {
    let (untied, rounded) = (copied(NARROW), copied(NARROW));
    untie(untied.path());
    rewrite(rounded.path(), |name, view| Some((name.to_owned(), converted(view, Dtype::BF16))));
    let (narrow, wide) = (fixture::path(NARROW), fixture::path(WIDE));
    let pairs =
        [(&narrow, &narrow), (&wide, &narrow), (&wide, &untied.path().into()), (&narrow, &rounded.path().into())];
    let made = pairs.map(|(encoder, decoder)| adapted(encoder, decoder));
    let (source, target) = (&[2, 481, 373, 396, 344, 320, 331, 388, 439, 423, 355], &[2, 27, 372, 320]);
    let answers = fixture::transformers::ask(&made.each_ref().map(TempDir::path), source, target);
    for folder in &made {
        let checkpoint = Checkpoint::open(folder.path()).unwrap();
        let logits = logits(&checkpoint, source, target);
        let Some(answers) = &answers else { continue };
        let answer = &answers[folder.path().to_str().unwrap()];
        assert_eq!(answer.architecture, "T5GemmaForConditionalGeneration");
        assert_eq!(answer.parameters, checkpoint.config().parameters());
        assert_eq!(logits.len(), answer.logits.iter().map(Vec::len).sum::<usize>());
        for (own, theirs) in logits.iter().zip(answer.logits.iter().flatten()) {
            assert!((own - theirs).abs() <= 1e-3, "{own} here, {theirs} in transformers");
        }
    }
}
