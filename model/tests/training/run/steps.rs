//! Steps: how they change the weights, and what they report.

use std::fs;

use model::training::Example;
use model::training::network::LossOptions;
use model::training::optimizer::{self, AdamW};
use model::training::settings::OptimizerSettings;
use serde_json::json;

use super::trial::{Trial, tensors};
use crate::fixture::{self, FOLDERS, SECOND};
use crate::trained::{self, TrainFixture};

#[test]
fn three_steps_of_adamw_have_the_losses_of_the_reference() {
    for folder in [FOLDERS[0], FOLDERS[1], SECOND[0]] {
        let (network, expected) = (trained::open(folder), TrainFixture::read(folder));
        let batch = expected.batch();
        let tokens: usize = batch.examples.iter().map(Example::target_len).sum();
        let mut adamw = AdamW::new(&OptimizerSettings::default());
        for (step, &loss) in expected.losses.iter().enumerate() {
            let (sums, gradients) = network.gradients(&batch, &LossOptions::default(), 1.0 / tokens as f64).unwrap();
            let found = sums.loss / tokens as f64;
            assert!((found - loss).abs() <= 1e-4 * loss, "{folder}, step {step}: {found} instead of {loss}");
            let norm = optimizer::norm(&gradients).unwrap();
            adamw.step(network.parameters(), &gradients, norm, 1e-2).unwrap();
        }
    }
}

#[test]
fn the_loss_falls_and_every_step_is_told_and_written() {
    let trial = Trial::with(&[
        ("stage.0.steps", json!(30)),
        ("stage.0.learning_rate", json!(3e-3)),
        ("checkpoints.every_steps", json!(0)),
    ]);
    let watcher = trial.finish();
    let losses = watcher.losses();
    let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
    assert!(mean(&losses[25..]) < 0.7 * mean(&losses[..5]), "{losses:?}");
    let written: Vec<(u64, f32)> = trial.metrics().0.iter().map(|step| (step.step, step.loss as f32)).collect();
    assert_eq!(written, watcher.steps.iter().map(|step| (step.step, step.loss as f32)).collect::<Vec<_>>());
    let numbers: Vec<u64> = watcher.steps.iter().map(|step| step.step).collect();
    assert_eq!(numbers, (1..=30).collect::<Vec<u64>>());
    assert!(watcher.steps.iter().all(|step| step.tokens > 0 && step.tokens_per_s > 0.0 && !step.skipped));
    assert!(watcher.steps.is_sorted_by(|one, next| one.epoch < next.epoch));
}

#[test]
fn frozen_weights_keep_their_bytes() {
    let trial = Trial::with(&[("stage.0.train", json!("cross_attention")), ("checkpoints.every_steps", json!(3))]);
    trial.finish();
    let before = tensors(&fixture::path("t5gemma-balanced/model.safetensors"));
    let after = tensors(&trial.checkpoint(6).join("model.safetensors"));
    let is_cross = |name: &str| name.contains("cross_attn");
    assert!(before.keys().any(|name| is_cross(name)) && before.len() == after.len());
    for (name, bytes) in &before {
        assert_eq!(after[name] == *bytes, !is_cross(name), "{name}");
    }
    let moments = tensors(&trial.checkpoint(6).join("optimizer.safetensors"));
    assert!(!moments.is_empty() && moments.keys().all(|name| is_cross(name)));
}

#[test]
fn the_warm_up_of_cross_attention_leaves_the_rest_until_it_is_over() {
    let trial = Trial::with(&[("cross_attention_warmup_steps", json!(2))]);
    let watcher = trial.finish();
    assert_eq!(watcher.steps.iter().map(|step| step.stage).collect::<Vec<_>>(), [0, 0, 1, 1, 1, 1, 1, 1]);
    let weights = |step| tensors(&trial.checkpoint(step).join("model.safetensors"));
    let (before, warm, after) = (tensors(&fixture::path("t5gemma-balanced/model.safetensors")), weights(2), weights(4));
    let name = "model.decoder.layers.0.self_attn.q_proj.weight";
    assert!(before[name] == warm[name] && warm[name] != after[name]);
}

#[test]
fn accumulated_batches_count_by_their_target_tokens() {
    // One batch of all rows against one row a batch: the same mean, whatever the rows' lengths.
    let losses = |batch_tokens: usize, accumulate: usize| {
        let trial = Trial::with(&[
            ("data.batch_tokens", json!(batch_tokens)),
            ("data.accumulate", json!(accumulate)),
            ("stage.0.steps", json!(3)),
        ]);
        trial.finish().steps.iter().map(|step| (step.loss, step.gradient_norm)).collect::<Vec<_>>()
    };
    for ((loss, norm), (other_loss, other_norm)) in losses(100_000, 1).into_iter().zip(losses(1, 24)) {
        assert!((loss - other_loss).abs() < 1e-4 * loss, "{loss} {other_loss}");
        assert!((norm - other_norm).abs() < 1e-3 * norm, "{norm} {other_norm}");
    }
}

#[test]
fn a_step_whose_loss_jumps_is_left_out_and_the_schedule_goes_on() {
    let trial = Trial::with(&[("optimizer.skip_loss_factor", json!(1e-3))]);
    let watcher = trial.finish();
    let skipped: Vec<bool> = watcher.steps.iter().map(|step| step.skipped).collect();
    assert_eq!(skipped, [false, true, true, true, true, true]);
    assert!(watcher.steps[5].learning_rate < watcher.steps[2].learning_rate);
    let weights = |step| tensors(&trial.checkpoint(step).join("model.safetensors"));
    assert_eq!(weights(2), weights(6));
    let state = fs::read_to_string(trial.checkpoint(6).join("state.json")).unwrap();
    assert!(state.contains("\"skipped_steps\": 5"), "{state}");
}

#[test]
fn a_loss_that_is_no_number_stops_the_run_and_leaves_the_last_checkpoint() {
    let trial = Trial::with(&[
        ("stage.0.learning_rate", json!(1e30)),
        ("stage.0.schedule", json!("constant")),
        ("stage.0.warmup_steps", json!(0)),
        ("checkpoints.every_steps", json!(1)),
    ]);
    let error = trial.error();
    assert!(error.contains("is not a finite number") && error.starts_with("step "), "{error}");
    assert_eq!(trial.checkpoints(), ["step-00000001"]);
    assert!(!trial.out().join("final").exists());
}
