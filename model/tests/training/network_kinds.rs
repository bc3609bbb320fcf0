//! Classifiers, random weights, causal encoders and every way of storing: what a trained network can be besides the
//! reference's fixtures.

use crate::fixture;
use crate::trained;
use std::fs;
use std::path::Path;

use crate::fixture::checkpoints::{TENSORS, converted, copied, edit, rewrite, sharded};
use crate::fixture::{FOLDERS, SECOND};
use crate::trained::{TrainFixture, largest_difference, norm, numbers, open, read};
use kernels::Precision;
use kernels::cpu::{Cpu, Isa};
use model::config::Stacks;
use model::training::network::LossOptions;
use model::training::{Batch, Example, Network, NetworkOptions};
use model::{AdaptRequest, Adaptation, Checkpoint, EncoderCheckpoint, EncoderModel, Readout};
use safetensors::Dtype;
use serde_json::{Value, json};
use tempfile::TempDir;

const LOGITS: f32 = 1e-3;

fn labels() -> Vec<String> {
    ["games", "net", "science"].map(str::to_owned).to_vec()
}

fn try_open(folder: &Path) -> model::training::Result<Network> {
    Network::open(folder, &NetworkOptions::default())
}

fn refusal(opened: model::training::Result<Network>) -> String {
    opened.expect_err("the folder cannot be used").to_string()
}

/// Writes a network's weights and configuration as a checkpoint.
fn saved(network: &Network) -> TempDir {
    let folder = TempDir::new().unwrap();
    let tensors = network.parameters().iter().map(|(name, parameter)| (name.clone(), parameter.as_detached_tensor()));
    candle_core::safetensors::save(&tensors.collect(), folder.path().join(TENSORS)).unwrap();
    fs::write(folder.path().join("config.json"), network.document().json().to_string()).unwrap();
    folder
}

fn same_parameters(one: &Network, other: &Network) -> bool {
    one.parameters().keys().eq(other.parameters().keys())
        && one.parameters().values().zip(other.parameters().values()).all(|(a, b)| numbers(a) == numbers(b))
}

#[test]
fn a_classifier_reads_the_last_tokens_state_of_the_stack_it_keeps() {
    for folder in ["t5gemma-balanced", "t5gemma-unbalanced", SECOND[0], "gemma2-source", "gemma3-source"] {
        let source = open(folder);
        let sources: [&[u32]; 3] = [&[2, 400, 31, 77], &[2, 9], &[2, 100, 101, 102, 103, 104, 105, 106, 107, 108, 109]];
        let states: Vec<Vec<f32>> = sources
            .iter()
            .map(|ids| numbers(&source.encoder_states(&[ids]).unwrap().get(ids.len() - 1).unwrap()))
            .collect();
        let network = source.with_classification_head(&labels(), 4).unwrap();
        let weight = network.output().0.to_vec2::<f32>().unwrap();
        assert_eq!(weight.len(), 3);
        let scores = network.class_scores(&sources).unwrap();
        for (state, scores) in states.iter().zip(&scores) {
            let expected: Vec<f32> =
                weight.iter().map(|row| row.iter().zip(state).map(|(a, b)| a * b).sum::<f32>()).collect();
            assert!(largest_difference(scores, &expected) <= 1e-5, "{folder}: {scores:?}, expected {expected:?}");
        }
        let best = |scores: &Vec<f32>| (0..3).max_by(|&a, &b| scores[a].total_cmp(&scores[b])).unwrap() as u32;
        assert_eq!(network.classify(&sources).unwrap(), scores.iter().map(best).collect::<Vec<_>>());

        let example = |(index, ids): (usize, &&[u32])| Example::Labelled { source: ids.to_vec(), label: index as u32 };
        let batch = Batch { examples: sources.iter().enumerate().map(example).collect() };
        let expected: f64 = scores.iter().enumerate().map(|(label, scores)| -log_softmax(scores)[label]).sum();
        let found = network.evaluate(&batch).unwrap();
        assert!((found.loss - expected).abs() <= 1e-5 * expected, "{folder}: {} for {expected}", found.loss);
        assert_eq!(found.tokens, 3);
    }
}

fn log_softmax(scores: &[f32]) -> Vec<f64> {
    let sum: f64 = scores.iter().map(|&score| f64::from(score).exp()).sum();
    scores.iter().map(|&score| f64::from(score) - sum.ln()).collect()
}

#[test]
fn a_classifier_is_saved_as_transformers_class_and_opens_again() {
    for (folder, stacks, class, head) in [
        (FOLDERS[1], Stacks::Encoder, "T5GemmaForSequenceClassification", "score.out_proj.weight"),
        (SECOND[0], Stacks::Encoder, "T5Gemma2ForSequenceClassification", "score.out_proj.weight"),
        ("gemma2-source", Stacks::Decoder, "Gemma2ForSequenceClassification", "score.weight"),
        ("gemma3-source", Stacks::Decoder, "Gemma3TextForSequenceClassification", "score.weight"),
    ] {
        let network = open(folder).with_classification_head(&labels(), 4).unwrap();
        let architecture = network.architecture();
        assert_eq!((architecture.stacks, architecture.classifies(), network.labels()), (stacks, true, labels()));
        let config = network.document().json();
        assert_eq!(config["architectures"], json!([class]));
        assert_eq!(config["id2label"], json!({"0": "games", "1": "net", "2": "science"}));
        assert_eq!(config["label2id"], json!({"games": 0, "net": 1, "science": 2}));
        let names: Vec<&String> = network.parameters().keys().collect();
        assert!(names.iter().any(|name| *name == head) && !names.iter().any(|name| name.contains("decoder.")));
        if stacks == Stacks::Encoder {
            assert_eq!(config["is_encoder_decoder"], json!(false));
            assert!(names.iter().any(|name| *name == "score.out_proj.bias"));
        }
        let again = try_open(saved(&network).path()).unwrap();
        assert_eq!((again.architecture(), again.document().json()), (architecture, config));
        assert!(same_parameters(&network, &again));
        let kept = again.with_classification_head(&labels(), 99).unwrap();
        assert!(same_parameters(&network, &kept), "a head with the same labels stays");
        let other = kept.with_classification_head(&labels()[..2], 99).unwrap();
        assert_eq!((other.labels().len(), other.output().0.dims()[0]), (2, 2));
    }
}

#[test]
fn a_classifier_is_served_with_the_scores_that_it_was_trained_for() {
    let sources: [&[u32]; 3] =
        [&[2, 400, 31, 77], &[2, 509, 9], &[2, 100, 101, 102, 103, 104, 105, 106, 107, 108, 109]];
    for folder in [FOLDERS[0], SECOND[0], SECOND[1]] {
        let network = open(folder).with_classification_head(&labels(), 4).unwrap();
        let saved = saved(&network);
        let checkpoint = EncoderCheckpoint::open(saved.path()).unwrap();
        assert_eq!(checkpoint.config().labels, labels());
        let backend = Cpu::new(Isa::detect(), 1);
        let served = EncoderModel::load(backend, &checkpoint, Precision::F32, &mut |_| ()).unwrap();
        let mut space = served.space([sources.iter().map(|source| source.len()).sum(), 0]).unwrap();
        let found = served.read_batch(&sources, Readout::Classes, &mut space);
        for (found, expected) in found.iter().zip(network.class_scores(&sources).unwrap()) {
            assert!(largest_difference(found, &expected) <= 1e-4, "{folder}: {found:?}, trained {expected:?}");
        }
    }
}

#[test]
fn gradients_of_a_classifier_are_the_same_with_recomputation() {
    let options = NetworkOptions { activation_checkpointing: true, ..NetworkOptions::default() };
    let examples = vec![
        Example::Labelled { source: vec![2, 400, 31, 77], label: 2 },
        Example::Labelled { source: vec![2, 9], label: 0 },
    ];
    let batch = Batch { examples };
    for folder in [FOLDERS[1], SECOND[0], "gemma2-source"] {
        let gradients = |network: Network| {
            let network = network.with_classification_head(&labels(), 4).unwrap();
            let (_, gradients) = network.gradients(&batch, &LossOptions::default(), 1.0).unwrap();
            assert_eq!(gradients.len(), network.parameters().len());
            gradients
        };
        let kept = gradients(open(folder));
        let recomputed = gradients(Network::open(&fixture::path(folder), &options).unwrap());
        for (name, gradient) in &kept {
            let (a, b) = (numbers(gradient), numbers(&recomputed[name]));
            let error = norm(a.iter().zip(&b).map(|(a, b)| a - b));
            assert!(error <= 1e-5 * norm(a).max(1e-6), "{folder} {name}: off by {error}");
        }
    }
}

#[test]
fn random_weights_follow_from_the_seed_and_have_the_configured_deviation() {
    let config = fixture::bytes("t5gemma-unbalanced/config.json");
    let random = |seed| Network::random(&config, seed, &NetworkOptions::default()).unwrap();
    let network = random(7);
    assert!(same_parameters(&network, &random(7)));
    assert!(!same_parameters(&network, &random(8)));
    assert!(network.parameters().keys().eq(open(FOLDERS[1]).parameters().keys()));
    for (name, parameter) in network.parameters() {
        let numbers = numbers(parameter);
        let deviation = norm(numbers.iter().copied()) / (numbers.len() as f64).sqrt();
        let expected = if name.ends_with("norm.weight") { 0.0 } else { 0.02 };
        assert!((deviation - expected).abs() <= 0.1 * expected, "{name}: {deviation}");
    }
    let (sums, _) = network.gradients(&TrainFixture::read(FOLDERS[1]).batch(), &LossOptions::default(), 1.0).unwrap();
    let uniform = (network.vocab() as f64).ln();
    assert!((sums.loss / sums.tokens as f64 - uniform).abs() < 0.2, "untrained, every token is as likely");
}

#[test]
fn an_adapted_encoder_with_a_causal_mask_is_the_source_it_was_copied_from() {
    let (source, out) = (fixture::path("gemma2-source"), TempDir::new().unwrap());
    let (encoder, decoder, out_path) = (source.clone(), source, out.path().to_owned());
    let request = AdaptRequest { encoder, decoder, tokenizer: None, out: out_path, seed: 1 };
    Adaptation::prepare(request).unwrap().write(&mut |_| ()).unwrap();
    let ids = trained::source_ids("gemma2-source");
    let (table, softcap) = open("gemma2-source").output();
    let cap = f64::from(softcap.unwrap());
    let through_own_head = |network: &Network| {
        let scores = network.encoder_states(&[&ids]).unwrap().matmul(&table.t().unwrap()).unwrap();
        numbers(&((scores / cap).unwrap().tanh().unwrap() * cap).unwrap())
    };
    let expected = read("gemma2-source", "expected", "logits");
    let options = NetworkOptions { encoder_causal: true, ..NetworkOptions::default() };
    let causal = Network::open(out.path(), &options).unwrap();
    assert!(largest_difference(&through_own_head(&causal), &expected) <= LOGITS);
    assert!(largest_difference(&through_own_head(&try_open(out.path()).unwrap()), &expected) > 1.0);

    let folder = saved(&causal);
    let again = try_open(folder.path()).unwrap();
    assert!(largest_difference(&through_own_head(&again), &expected) <= LOGITS, "the mark is honoured");
    let message = Checkpoint::open(folder.path()).unwrap_err().to_string();
    assert!(message.contains("encoder.encdec_causal is true") && message.contains("cannot be served"), "{message}");
}

#[test]
fn checkpoints_open_from_shards_and_from_every_number_type() {
    let network = open(FOLDERS[0]);
    assert!(same_parameters(&network, &try_open(sharded(FOLDERS[0]).path()).unwrap()));
    for dtype in [Dtype::BF16, Dtype::F16] {
        let folder = copied(FOLDERS[0]);
        rewrite(folder.path(), |name, view| Some((name.to_owned(), converted(view, dtype))));
        let rounded = try_open(folder.path()).unwrap();
        for (name, parameter) in network.parameters() {
            let (exact, rounded) = (numbers(parameter), numbers(&rounded.parameters()[name]));
            let largest = exact.iter().fold(0.0_f32, |largest, number| largest.max(number.abs()));
            assert!(largest_difference(&exact, &rounded) <= largest / 200.0, "{name}");
        }
    }
}

#[test]
fn a_pair_that_is_said_to_be_none_is_trained_as_one_unless_its_class_is_a_classifier_s() {
    let folder = copied(FOLDERS[0]);
    edit(&folder.path().join("config.json"), |config| config["is_encoder_decoder"] = json!(false));
    let (pair, plain) = (try_open(folder.path()).unwrap(), open(FOLDERS[0]));
    assert_eq!(pair.architecture(), plain.architecture());
    assert_eq!(pair.document().json()["architectures"], json!(["T5GemmaForConditionalGeneration"]));
    assert!(same_parameters(&pair, &plain));
    edit(&folder.path().join("config.json"), |config| {
        config["architectures"] = json!(["T5GemmaForSequenceClassification"]);
    });
    let refused = refusal(try_open(folder.path()));
    assert!(refused.contains("id2label") && !refused.contains("is_encoder_decoder"), "{refused}");
}

#[test]
fn what_cannot_be_trained_is_refused_with_the_reason() {
    let changed = |change: fn(&mut Value)| {
        let folder = copied(FOLDERS[0]);
        edit(&folder.path().join("config.json"), change);
        refusal(try_open(folder.path()))
    };
    let quantized = changed(|config| config["quantization_config"] = json!({"quant_method": "encdec"}));
    assert!(quantized.contains("not quantised"), "{quantized}");
    let nameless = changed(|config| config["architectures"] = json!(["T5GemmaForSequenceClassification"]));
    assert!(nameless.contains("id2label") && nameless.contains("is_encoder_decoder"), "{nameless}");
    let other = changed(|config| config["model_type"] = json!("llama"));
    assert!(other.contains("llama") && other.contains("gemma2"), "{other}");
}
