//! A run that was killed, stopped or hindered goes on as if nothing had been.

use std::fs;

use model::training::Outcome;
use serde_json::json;

use crate::fixture::{self, SECOND};

use super::trial::{Trial, contents, names, tensors};

/// All but times, of every step and validation.
fn timeless(trial: &Trial) -> Vec<String> {
    let (mut steps, mut validations) = trial.metrics();
    for step in &mut steps {
        (step.elapsed_s, step.tokens_per_s) = (0.0, 0.0);
    }
    validations.iter_mut().for_each(|validation| validation.elapsed_s = 0.0);
    steps.iter().map(|step| format!("{step:?}")).chain(validations.iter().map(|own| format!("{own:?}"))).collect()
}

/// Asserts that two runs of eight steps left the same weights, moments, final models and metrics.
pub fn assert_same_end(broken: &Trial, unbroken: &Trial, what: &str) {
    let ends = [broken, unbroken].map(|trial| contents(&trial.checkpoint(8)));
    assert_eq!(ends[0].keys().collect::<Vec<_>>(), ends[1].keys().collect::<Vec<_>>());
    for (name, bytes) in &ends[1] {
        // The runs' own folders are in the settings of each, and their hashes in the checksums.
        if name != "state.json" && name != "checksums" {
            assert!(ends[0][name] == *bytes, "{what}: {name}");
        }
    }
    let model = |trial: &Trial| tensors(&trial.out().join("final/model.safetensors"));
    assert_eq!(model(broken), model(unbroken), "{what}");
    assert_eq!(timeless(broken), timeless(unbroken), "{what}");
}

#[test]
fn a_run_that_is_killed_ends_as_one_that_never_stopped() {
    let unbroken = Trial::of_everything();
    unbroken.finish();
    for step in [1, 2, 5, 8] {
        let broken = Trial::of_everything();
        broken.kill_after(step);
        broken.finish();
        assert_same_end(&broken, &unbroken, &format!("killed after step {step}"));
    }
}

#[test]
fn a_run_of_a_t5gemma2_that_is_killed_ends_as_one_that_never_stopped() {
    let everything = || {
        let mut trial = Trial::of_everything();
        // Merged attention has no weights of its own to begin with.
        trial.set("cross_attention_warmup_steps", json!(0));
        trial.set("model.init", json!(fixture::path(SECOND[0])));
        trial.set("stage.0.steps", json!(8));
        trial.set("checkpoints.average_last", json!(2));
        trial
    };
    let unbroken = everything();
    unbroken.finish();
    for step in [1, 5] {
        let broken = everything();
        broken.kill_after(step);
        broken.finish();
        assert_same_end(&broken, &unbroken, &format!("killed after step {step}"));
    }
}

#[test]
fn a_run_that_is_killed_again_and_again_and_stopped_ends_as_one_that_never_stopped() {
    let (broken, unbroken) = (Trial::of_everything(), Trial::of_everything());
    unbroken.finish();
    broken.kill_after(3);
    assert!(matches!(broken.stop_in(5), Outcome::Stopped { steps: 5, .. }));
    broken.kill_after(7);
    broken.finish();
    assert_same_end(&broken, &unbroken, "broken three times");
}

#[test]
fn a_checkpoint_that_was_being_written_when_the_run_was_killed_is_removed() {
    let (broken, unbroken) = (Trial::of_everything(), Trial::of_everything());
    unbroken.finish();
    broken.kill_after(5);
    let partial = broken.out().join("checkpoints/.partial-step-00000004");
    fs::rename(broken.checkpoint(4), &partial).unwrap();
    fs::write(partial.join("model.safetensors"), "half").unwrap();
    broken.finish();
    assert_eq!(broken.checkpoints(), unbroken.checkpoints());
    assert_same_end(&broken, &unbroken, "killed while writing");
}

#[test]
fn the_threads_that_compute_do_not_change_the_result() {
    let (one, two) = (Trial::of_everything(), Trial::of_everything());
    let mut one = one;
    one.set("threads", json!(1));
    one.finish();
    two.finish();
    assert_same_end(&one, &two, "one thread");
}

#[test]
fn a_stopped_run_is_saved_and_says_where() {
    let trial = Trial::new();
    let outcome = trial.stop_in(3);
    assert_eq!(outcome, Outcome::Stopped { checkpoint: trial.checkpoint(3), steps: 3 });
    assert_eq!(trial.checkpoints(), ["step-00000002", "step-00000003"]);
    assert!(!trial.out().join("final").exists());
    let watcher = trial.finish();
    assert_eq!(watcher.steps[0].step, 4);
    assert_eq!(trial.checkpoints(), ["step-00000002", "step-00000004", "step-00000006"]);
}

#[test]
fn a_run_that_is_done_gives_its_model_again_and_may_be_given_more_steps() {
    let mut trial = Trial::with(&[("stage.0.schedule", json!("constant"))]);
    trial.finish();
    let model = tensors(&trial.out().join("final/model.safetensors"));
    let metrics = timeless(&trial);
    fs::remove_dir_all(trial.out().join("final")).unwrap();
    assert!(trial.finish().steps.is_empty());
    assert_eq!(tensors(&trial.out().join("final/model.safetensors")), model);
    assert_eq!(timeless(&trial), metrics);

    trial.set("stage.0.steps", json!(8));
    let longer = trial.finish();
    assert_eq!(longer.steps.iter().map(|step| step.step).collect::<Vec<_>>(), [7, 8]);
    let at_once = Trial::with(&[("stage.0.schedule", json!("constant")), ("stage.0.steps", json!(8))]);
    at_once.finish();
    assert_same_end(&trial, &at_once, "longer");
}

#[test]
fn a_checkpoint_that_cannot_be_written_leaves_the_last_one_and_the_run_goes_on_later() {
    let trial = Trial::new();
    trial.stop_in(2);
    let before = contents(&trial.checkpoint(2));
    // A file is where the next checkpoint is to be.
    fs::write(trial.checkpoint(4), "in the way").unwrap();
    let error = trial.error();
    assert!(error.contains("cannot write") && error.contains("step-00000004"), "{error}");
    assert_eq!(trial.checkpoints(), ["step-00000002", "step-00000004"]);
    assert_eq!(contents(&trial.checkpoint(2)), before);
    fs::remove_file(trial.checkpoint(4)).unwrap();
    assert_eq!(trial.finish().steps[0].step, 3);
}

#[test]
fn checkpoints_are_models_with_their_tokenizer_in_float32() {
    let trial = Trial::new();
    trial.finish();
    let expected = [
        "checksums",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "optimizer.safetensors",
        "state.json",
        "tokenizer.json",
        "tokenizer_config.json",
    ];
    assert_eq!(names(&trial.checkpoint(6)), expected);
    assert_eq!(model::Checkpoint::open(&trial.checkpoint(6)).unwrap().config().decoder.layers, 4);
}
