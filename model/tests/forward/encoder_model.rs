//! An encoder that classifies: its scores against transformers', its batches, and folders that are no such thing.

use crate::fixture;
use std::path::Path;

use crate::fixture::Case;
use crate::fixture::checkpoints::{TENSORS, edit, rewritten, stored};
use kernels::Precision;
use kernels::cpu::{Cpu, Isa};
use model::checkpoint::architecture_of;
use model::config::Stacks;
use model::{Checkpoint, EncoderCheckpoint, EncoderModel, Readout};
use safetensors::{Dtype, SafeTensors, serialize};
use serde_json::json;
use tempfile::TempDir;

const LABELS: [&str; 3] = ["libs", "net", "games"];
const HIDDEN: usize = 32;
/// Scores of transformers 5.17 for the balanced checkpoint's encoder with the head below, one row per case.
const EXPECTED: [[f32; 3]; 6] = [
    [-4.121_838, -1.418_421_6, 1.138_717_8],
    [-0.693_896_3, 1.019_696_8, -2.204_462_3],
    [-3.310_169_5, -0.581_760_3, -0.408_048_6],
    [0.929_818_6, -1.393_492_7, -0.118_463_58],
    [-0.402_867_9, -2.350_689_2, 2.023_350_2],
    [0.530_837_8, 0.778_364_5, -0.186_500_55],
];

/// The balanced checkpoint's encoder with a head that is easy to make anywhere, in transformers' layout.
fn written() -> TempDir {
    let folder = rewritten(|name, view| name.starts_with("model.encoder.").then(|| (name.to_owned(), stored(view))));
    let weight = |index: usize| (((index / HIDDEN * 31 + index % HIDDEN * 17) % 13) as f32 - 6.0) / 16.0;
    let bytes = |numbers: Vec<f32>| numbers.into_iter().flat_map(f32::to_le_bytes).collect::<Vec<u8>>();
    let head = [
        ("score.out_proj.weight", vec![LABELS.len(), HIDDEN], bytes((0..LABELS.len() * HIDDEN).map(weight).collect())),
        ("score.out_proj.bias", vec![LABELS.len()], bytes((0..LABELS.len()).map(|l| l as f32 / 8.0 - 0.25).collect())),
    ];
    let file = folder.path().join(TENSORS);
    let encoder = std::fs::read(&file).unwrap();
    let encoder = SafeTensors::deserialize(&encoder).unwrap();
    let mut all: Vec<(String, fixture::checkpoints::Stored)> =
        encoder.iter().map(|(name, view)| (name.to_owned(), stored(&view))).collect();
    all.extend(head.map(|(name, shape, bytes)| (name.to_owned(), (Dtype::F32, shape, bytes))));
    let whole = serialize(fixture::checkpoints::views(&all), None).unwrap();
    std::fs::write(file, whole).unwrap();
    edit(&folder.path().join("config.json"), |config| {
        config["architectures"] = json!(["T5GemmaForSequenceClassification"]);
        config["is_encoder_decoder"] = json!(false);
        config["id2label"] = json!({"0": LABELS[0], "1": LABELS[1], "2": LABELS[2]});
    });
    folder
}

fn opened(folder: &Path) -> EncoderCheckpoint {
    EncoderCheckpoint::open(folder).unwrap()
}

fn refusal(change: impl FnOnce(&mut serde_json::Value)) -> String {
    let folder = written();
    edit(&folder.path().join("config.json"), change);
    EncoderCheckpoint::open(folder.path()).unwrap_err().to_string()
}

#[test]
fn scores_are_those_of_transformers_alone_and_in_a_ragged_batch() {
    let folder = written();
    let checkpoint = opened(folder.path());
    assert_eq!(checkpoint.config().labels, LABELS);
    let backend = Cpu::new(Isa::detect(), 2);
    let classifier = EncoderModel::load(backend, &checkpoint, Precision::F32, &mut |_| ()).unwrap();
    let cases = Case::all("t5gemma-balanced");
    let sources: Vec<&[u32]> = cases.iter().map(|case| case.input_ids.as_slice()).collect();
    let source_rows = sources.iter().map(|source| source.len()).sum();
    let mut space = classifier.space([source_rows, 0]).unwrap();
    let together = classifier.read_batch(&sources, Readout::Classes, &mut space);
    assert_eq!(together.len(), EXPECTED.len());
    for ((source, scores), expected) in sources.iter().zip(&together).zip(EXPECTED) {
        assert!(scores.iter().zip(expected).all(|(own, other)| (own - other).abs() < 1e-3), "{scores:?} {expected:?}");
        let alone = classifier.read_batch(&[source], Readout::Classes, &mut space);
        assert_eq!(alone, std::slice::from_ref(scores), "neighbours change nothing");
    }
}

#[test]
fn bf16_and_quantised_encoders_stay_near_float32() {
    let folder = written();
    let checkpoint = opened(folder.path());
    let source = Case::all("t5gemma-balanced").swap_remove(4).input_ids;
    let arithmetic = model::Arithmetic { quantize: Some(kernels::Scheme::Int8), ..Precision::Bf16.into() };
    for arithmetic in [Precision::Bf16.into(), arithmetic] {
        let backend = Cpu::new(Isa::detect(), 1);
        let classifier = EncoderModel::load(backend, &checkpoint, arithmetic, &mut |_| ()).unwrap();
        let mut space = classifier.space([source.len(), 0]).unwrap();
        let scores = classifier.read_batch(&[&source], Readout::Classes, &mut space).remove(0);
        assert!(scores.iter().zip(EXPECTED[4]).all(|(own, other)| (own - other).abs() < 0.2), "{scores:?}");
    }
}

#[test]
fn a_classifier_is_told_from_what_is_served_and_is_not_opened_as_it() {
    let folder = written();
    let architecture = architecture_of(folder.path()).unwrap();
    assert_eq!((architecture.stacks, architecture.classifies()), (Stacks::Encoder, true));
    assert_eq!(architecture, opened(folder.path()).config().architecture());
    let message = Checkpoint::open(folder.path()).unwrap_err().to_string();
    assert!(message.contains("is_encoder_decoder is false"), "{message}");
    let pair = fixture::path("t5gemma-balanced");
    assert_eq!(architecture_of(&pair).unwrap(), Checkpoint::open(&pair).unwrap().config().architecture());
    let message = EncoderCheckpoint::open(&pair).unwrap_err().to_string();
    assert!(message.contains("is_encoder_decoder is not false"), "{message}");
    assert!(message.lines().count() == 2, "{message}");
}

#[test]
fn an_encoder_and_decoder_that_classify_are_not_served() {
    let folder = fixture::checkpoints::copied("t5gemma-balanced");
    edit(&folder.path().join("config.json"), |config| {
        config["architectures"] = json!(["T5GemmaForSequenceClassification"]);
    });
    let message = Checkpoint::open(folder.path()).unwrap_err().to_string();
    assert!(message.contains("architectures names a classifier"), "{message}");
}

#[test]
fn what_only_the_trained_network_runs_is_recognised() {
    for (change, stacks, causal) in [
        (json!({"model_type": "gemma2"}), Stacks::Decoder, false),
        (json!({"encoder": {"encdec_causal": true}}), Stacks::Encoder, true),
    ] {
        let folder = written();
        edit(&folder.path().join("config.json"), |config| {
            for (key, value) in change.as_object().unwrap() {
                match value.as_object() {
                    Some(inner) => inner.iter().for_each(|(name, value)| config[key][name] = value.clone()),
                    None => config[key] = value.clone(),
                }
            }
        });
        let architecture = architecture_of(folder.path()).unwrap();
        assert_eq!((architecture.stacks, architecture.causal_encoder), (stacks, causal));
    }
}

#[test]
fn every_problem_of_a_classifiers_configuration_is_listed() {
    let message = refusal(|config| {
        config["id2label"] = json!({"1": "only"});
        config["encoder"]["encdec_causal"] = json!(true);
        config["encoder"]["head_dim"] = json!(7);
    });
    for part in ["id2label is {\"1\":\"only\"}", "encoder.encdec_causal is true", "encoder.head_dim is 7"] {
        assert!(message.contains(part), "{part}: {message}");
    }
    let message = refusal(|config| config["id2label"] = json!({"0": "a", "1": "b", "2": "a"}));
    assert!(message.contains("id2label names \"a\" twice"), "{message}");
    let message = refusal(|config| config["id2label"] = json!({"0": "a", "1": "b"}));
    assert!(message.contains("score.out_proj.weight has shape [3, 32], not [2, 32]"), "{message}");
}

#[test]
fn classes_without_names_are_the_two_of_transformers() {
    let message = refusal(|config| _ = config.as_object_mut().unwrap().remove("id2label"));
    assert!(message.contains("score.out_proj.bias has shape [3], not [2]"), "{message}");
}
