//! Checkpoints that training saves, of every kind of model, load in transformers and compute the same there.

use crate::fixture::{self, SECOND};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use model::training::{Batch, Example, Network, NetworkOptions, Outcome, train};
use serde_json::{Value, json};
use tempfile::TempDir;

const SOURCE: [u32; 8] = [2, 481, 373, 396, 344, 320, 331, 388];
const TARGET: [u32; 4] = [2, 27, 372, 320];

/// A run of two steps from a tiny checkpoint: the final model, and the last checkpoint.
fn trained(place: &TempDir, init: &str, kind: &str, save_as: &str) -> [PathBuf; 2] {
    let name = format!("{init}-{kind}-{save_as}");
    let row = |label: &str| match kind {
        "classify" => json!({"input_ids": SOURCE, "label": label}),
        "seq2seq" => json!({"input_ids": SOURCE, "target_ids": [27, 372, 320, 1]}),
        _ => json!({"input_ids": SOURCE}),
    };
    let rows = place.path().join(format!("{name}.jsonl"));
    fs::write(&rows, ["left", "right", "none"].map(|label| format!("{}\n", row(label))).concat()).unwrap();
    let settings: Value = json!({
        "out": place.path().join(&name),
        "threads": 1,
        "model": { "init": fixture::path(init), "save_as": save_as },
        "objective": { "kind": kind },
        "data": { "train": [rows] },
        "stage": [{ "steps": 2, "learning_rate": 1e-2 }],
    });
    let settings = serde_json::from_value(settings).unwrap();
    let outcome = train(&settings, &AtomicBool::new(false), &mut ()).unwrap();
    let Outcome::Finished { model, .. } = outcome else { panic!("{outcome:?}") };
    [model, place.path().join(name).join("checkpoints/step-00000002")]
}

/// Logits of a folder's network for the tokens that transformers gets.
fn logits(folder: &Path, architecture: &str) -> Vec<f32> {
    let network = Network::open(folder, &NetworkOptions::default()).unwrap();
    let (source, next) = (SOURCE.to_vec(), 1);
    let example = match architecture {
        "T5GemmaForConditionalGeneration" | "T5Gemma2ForConditionalGeneration" => {
            Example::Pair { source, target: [&TARGET[1..], &[next]].concat() }
        }
        "Gemma2ForCausalLM" | "Gemma3ForCausalLM" => {
            Example::Pair { source: vec![SOURCE[0]], target: [&SOURCE[1..], &[next]].concat() }
        }
        _ => Example::Labelled { source, label: 0 },
    };
    let logits = network.logits(&Batch { examples: vec![example] }).unwrap();
    logits.flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn every_kind_of_saved_checkpoint_loads_in_transformers_and_computes_as_here() {
    let place = TempDir::new().unwrap();
    let saved: Vec<(PathBuf, &str)> = [
        (trained(&place, "t5gemma-balanced", "seq2seq", "bf16"), "T5GemmaForConditionalGeneration"),
        (trained(&place, "t5gemma-unbalanced", "seq2seq", "f32"), "T5GemmaForConditionalGeneration"),
        (trained(&place, "gemma2-source", "causal", "bf16"), "Gemma2ForCausalLM"),
        (trained(&place, SECOND[0], "seq2seq", "bf16"), "T5Gemma2ForConditionalGeneration"),
        (trained(&place, SECOND[1], "prefix_lm", "f32"), "T5Gemma2ForConditionalGeneration"),
        (trained(&place, "gemma3-source", "causal", "bf16"), "Gemma3ForCausalLM"),
        (trained(&place, "t5gemma-unbalanced", "classify", "f32"), "T5GemmaForSequenceClassification"),
        (trained(&place, SECOND[0], "classify", "f32"), "T5Gemma2ForSequenceClassification"),
        (trained(&place, "gemma2-source", "classify", "bf16"), "Gemma2ForSequenceClassification"),
        (trained(&place, "gemma3-source", "classify", "f32"), "Gemma3TextForSequenceClassification"),
    ]
    .into_iter()
    .flat_map(|(folders, architecture)| folders.map(|folder| (folder, architecture)))
    .collect();
    let folders: Vec<&Path> = saved.iter().map(|(folder, _)| folder.as_path()).collect();
    let answers = fixture::transformers::ask(&folders, &SOURCE, &TARGET);
    for (folder, architecture) in &saved {
        let own = logits(folder, architecture);
        let Some(answers) = &answers else { continue };
        let answer = &answers[folder.to_str().unwrap()];
        assert_eq!(answer.architecture, *architecture);
        let theirs = answer.logits.concat();
        assert_eq!(own.len(), theirs.len(), "{}", folder.display());
        for (own, theirs) in own.iter().zip(&theirs) {
            assert!((own - theirs).abs() <= 1e-3, "{}: {own} here, {theirs} in transformers", folder.display());
        }
    }
}
