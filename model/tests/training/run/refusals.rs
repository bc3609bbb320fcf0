//! Runs that are not begun, or not gone on with, and what is said then.

use std::fs;

use model::training::{Error, Observer, Prepared};
use serde_json::json;

use super::trial::{Trial, Watcher};
use crate::fixture;

#[test]
fn a_run_is_not_resumed_with_settings_that_reach_its_arithmetic() {
    let mut trial = Trial::new();
    trial.stop_in(3);
    trial.set("seed", json!(2));
    trial.set("data.batch_tokens", json!(61));
    trial.set("stage.0.learning_rate", json!(1e-4));
    let error = trial.error();
    for part in ["seed: was 1, is 2", "data.batch_tokens: was 60, is 61", "stage: the 3 steps"] {
        assert!(error.contains(part), "{part} is not in {error}");
    }
    assert!(!error.contains("data.train"), "{error}");
}

#[test]
fn a_run_is_not_resumed_with_other_rows() {
    let trial = Trial::new();
    trial.stop_in(3);
    let rows = fs::read_to_string(trial.path("train.jsonl")).unwrap();
    fs::write(trial.path("train.jsonl"), rows.replace("License", "license")).unwrap();
    let error = trial.error();
    assert!(error.contains("data.train") && error.contains("something else"), "{error}");
}

#[test]
fn a_run_is_resumed_with_the_same_rows_however_they_are_written() {
    let trial = Trial::new();
    trial.stop_in(3);
    let rows = fs::read_to_string(trial.path("train.jsonl")).unwrap();
    let respaced = rows.replace("\":\"", "\" : \"").replace("}\n", " }\r\n\n");
    assert_ne!(rows, respaced);
    fs::write(trial.path("train.jsonl"), respaced).unwrap();
    assert_eq!(trial.finish().steps[0].step, 4);
}

#[test]
fn a_checkpoint_with_a_changed_file_is_not_gone_on_with_and_the_file_is_named() {
    let mut trial = Trial::with(&[("checkpoints", json!({ "every_steps": 2, "average_last": 2 }))]);
    trial.stop_in(3);
    for name in ["model.safetensors", "optimizer.safetensors", "config.json", "tokenizer.json"] {
        let path = trial.checkpoint(3).join(name);
        let whole = fs::read(&path).unwrap();
        let mut changed = whole.clone();
        // A bit of the last number, or a letter.
        let place = if name.ends_with(".json") {
            whole.iter().position(|byte| *byte == b'a').unwrap()
        } else {
            whole.len() - 3
        };
        changed[place] ^= 1;
        fs::write(&path, changed).unwrap();
        let error = trial.error();
        assert!(error.starts_with(&format!("{} is damaged (its checksum", path.display())), "{error}");
        fs::write(&path, whole).unwrap();
    }
    // Nor does a changed checkpoint come into the final model.
    let path = trial.checkpoint(2).join("model.safetensors");
    let mut changed = fs::read(&path).unwrap();
    *changed.last_mut().unwrap() ^= 1;
    fs::write(&path, changed).unwrap();
    trial.set("checkpoints", json!({ "every_steps": 2, "average_last": 3 }));
    let error = trial.error();
    assert!(error.starts_with(&format!("{} is damaged", path.display())), "{error}");
}

#[test]
fn a_checkpoint_of_another_version_is_told_apart_from_a_damaged_one() {
    let trial = Trial::new();
    trial.stop_in(3);
    fs::write(trial.checkpoint(3).join("state.json"), r#"{"format": 1, "step": 3}"#).unwrap();
    let error = trial.error();
    assert!(error.contains("state.json has format 1, this program reads 2"), "{error}");
}

#[test]
fn a_label_that_is_named_twice_is_refused() {
    let twice = json!({ "kind": "classify", "labels": ["odd", "even", "third", "odd"] });
    let error = Trial::with(&[("objective", twice)]).error();
    assert!(error.contains("objective.labels names \"odd\" twice"), "{error}");
}

#[test]
fn a_damaged_checkpoint_is_named() {
    let trial = Trial::new();
    trial.stop_in(3);
    fs::write(trial.checkpoint(3).join("state.json"), "{}").unwrap();
    let error = trial.error();
    assert!(error.contains("step-00000003") && error.contains("is damaged"), "{error}");
    fs::remove_dir_all(trial.checkpoint(3)).unwrap();
    assert_eq!(trial.finish().steps[0].step, 3);
}

/// Starts the same run a second time before the first one's first step.
struct Intruder<'a>(&'a Trial, Option<String>);

impl Observer for Intruder<'_> {
    fn prepared(&mut self, _: &Prepared) {
        self.1 = Some(self.0.error());
    }
}

#[test]
fn two_runs_do_not_share_a_folder() {
    let trial = Trial::new();
    let mut intruder = Intruder(&trial, None);
    let stop = std::sync::atomic::AtomicBool::new(false);
    model::training::train(&trial.settings(), &stop, &mut intruder).unwrap();
    assert!(intruder.1.unwrap().contains("is in use by another run"));
}

#[test]
fn models_that_do_not_fit_the_objective_are_refused() {
    let gemma2 = json!(fixture::path("gemma2-source"));
    let causal = Trial::with(&[("objective", json!({ "kind": "causal" }))]).error();
    assert!(causal.contains("causal"), "{causal}");
    let trial = Trial::with(&[("model.init", gemma2.clone()), ("stage.0.train", json!("cross_attention"))]);
    assert!(trial.error().contains("cross-attention"), "{}", trial.error());
    let trial = Trial::with(&[("model.init", gemma2), ("model.encoder_attention", json!("causal"))]);
    assert!(trial.error().contains("model.encoder_attention"), "{}", trial.error());
}

#[test]
fn early_stopping_without_anything_to_look_at_is_refused() {
    let error = Trial::with(&[("validation.patience", json!(2))]).error();
    assert!(error.contains("validation.patience needs data.valid"), "{error}");
}

#[test]
fn a_teacher_of_another_vocabulary_is_refused() {
    let teacher = Trial::new();
    teacher.finish();
    let folder = teacher.out().join("final");
    let text = fs::read_to_string(folder.join("tokenizer.json")).unwrap();
    let mut changed: serde_json::Value = serde_json::from_str(&text).unwrap();
    changed["model"]["vocab"]["<0x00>"] = json!(8);
    fs::write(folder.join("tokenizer.json"), changed.to_string()).unwrap();
    let error = Trial::with(&[("distillation", json!({ "teacher": folder }))]).error();
    assert!(error.contains("distillation.teacher") && error.contains("other pieces"), "{error}");
}

#[test]
fn malformed_rows_are_told_and_left_out_or_end_the_run() {
    let mut trial = Trial::new();
    let rows = fs::read_to_string(trial.path("train.jsonl")).unwrap();
    fs::write(trial.path("train.jsonl"), format!("{rows}{{\"input\": 3}}\n")).unwrap();
    let error = trial.error();
    assert!(error.contains("train.jsonl:25"), "{error}");
    trial.set("data.bad_rows", json!("skip"));
    let mut watcher = Watcher::default();
    trial.train(&mut watcher).unwrap();
    assert!(watcher.skipped_rows[0].contains("train.jsonl:25"), "{:?}", watcher.skipped_rows);
}

#[test]
fn without_cuda_a_run_on_a_gpu_says_how_to_get_it() {
    let trial = Trial::with(&[("device", json!("cuda"))]);
    if !candle_core::utils::cuda_is_available() {
        let mut watcher = Watcher::default();
        assert!(matches!(trial.train(&mut watcher), Err(Error::NoCuda)));
    }
}
