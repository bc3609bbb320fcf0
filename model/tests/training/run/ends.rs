//! The end of a run: the model that is served, and how it was chosen.

use std::fs;

use model::training::Outcome;
use serde_json::{Value, json};

use super::trial::{Trial, Watcher, tensors};
use crate::fixture::{self, SECOND};

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks::<4>().0.iter().map(|word| f32::from_le_bytes(*word)).collect()
}

fn config(trial: &Trial) -> Value {
    serde_json::from_slice(&fs::read(trial.out().join("final/config.json")).unwrap()).unwrap()
}

#[test]
fn a_t5gemma2_is_saved_as_published_with_its_tower_and_trains_on() {
    let init = fixture::path(SECOND[0]);
    let of_tower = |name: &str| name.contains("vision_tower") || name.contains("multi_modal_projector");
    let trial = Trial::with(&[
        ("model.init", json!(init)),
        ("model.save_as", json!("f32")),
        ("checkpoints.average_last", json!(2)),
    ]);
    let told = |watcher: &Watcher<'_>| watcher.notes.iter().filter(|note| note.contains("tower for images")).count();
    assert_eq!(told(&trial.finish()), 1);
    let saved = tensors(&trial.out().join("final/model.safetensors"));
    let published = tensors(&init.join("model.safetensors"));
    assert_eq!(saved.keys().collect::<Vec<_>>(), published.keys().collect::<Vec<_>>());
    assert_eq!(saved.keys().filter(|name| name.contains("embed_tokens.weight")).count(), 1);
    assert!(published.keys().any(|name| of_tower(name)));
    for (name, bytes) in &published {
        let is_unchanged = of_tower(name) || name.ends_with("eoi_embedding");
        assert!(is_unchanged || saved[name] != *bytes, "{name} is trained");
        assert!(!of_tower(name) || saved[name] == *bytes, "{name} is kept");
    }
    let checkpoint = tensors(&trial.checkpoint(6).join("model.safetensors"));
    assert!(!checkpoint.keys().any(|name| of_tower(name)));
    assert_eq!(config(&trial)["tie_word_embeddings"], json!(true));
    assert_eq!(config(&trial)["architectures"], json!(["T5Gemma2ForConditionalGeneration"]));

    let mut next = Trial::with(&[("model.init", json!(trial.out().join("final")))]);
    next.stop_in(3);
    next.set("model.init", json!(next.path("gone")));
    let error = next.error();
    assert!(error.contains("model.init"), "another checkpoint is another run: {error}");
    next.set("model.init", json!(trial.out().join("final")));
    fs::rename(trial.out().join("final"), trial.out().join("moved")).unwrap();
    assert!(next.finish().notes.iter().any(|note| note.contains("not there any more")));
    assert!(!tensors(&next.out().join("final/model.safetensors")).keys().any(|name| of_tower(name)));
}

#[test]
fn a_t5gemma2_is_denoised_with_its_own_mix_unless_another_is_named() {
    let mix = |init: &str, mix: Option<&str>| {
        let mut objective = json!({ "kind": "ul2", "mode_tokens": [], "sentinels": ["<0x00>", "<0x01>", "<0x02>"] });
        if let Some(mix) = mix {
            objective["mix"] = json!(mix);
        }
        let trial = Trial::with(&[("objective", objective), ("model.init", json!(fixture::path(init)))]);
        trial.stop_in(2);
        let state: Value = serde_json::from_slice(&fs::read(trial.checkpoint(2).join("state.json")).unwrap()).unwrap();
        (state["settings"]["objective.mix"].clone(), tensors(&trial.checkpoint(2).join("model.safetensors")))
    };
    let (second, named) = (mix(SECOND[0], None), mix(SECOND[0], Some("t5gemma2")));
    assert_eq!(second.0, json!("\"t5gemma2\""));
    assert!(second == named);
    let other = mix(SECOND[0], Some("ul2"));
    assert!(other.0 == json!("\"ul2\"") && other.1 != second.1);
    assert_eq!(mix("t5gemma-balanced", None).0, json!("\"ul2\""));
}

#[test]
fn a_t5gemma2_has_no_cross_attention_to_train_alone() {
    for change in [("cross_attention_warmup_steps", json!(2)), ("stage.0.train", json!("cross_attention"))] {
        let trial = Trial::with(&[("model.init", json!(fixture::path(SECOND[0]))), change]);
        let message = trial.error();
        assert!(message.contains("the model has none of its own"), "{message}");
    }
}

#[test]
fn a_t5gemma2_learns_a_task_from_random_weights() {
    // Each target is the first word of its source.
    let mut trial = Trial::with(&[
        (
            "model",
            json!({
                "config": fixture::path("t5gemma2-tiny/config.json"),
                "tokenizer": fixture::path(SECOND[0]),
                "save_as": "f32",
            }),
        ),
        ("stage", json!([{ "steps": 400, "learning_rate": 5e-3, "warmup_steps": 20 }])),
        ("checkpoints.every_steps", json!(0)),
        ("data.batch_tokens", json!(400)),
        ("validation", json!({ "every_steps": 0, "samples": 4, "sample_tokens": 8, "metric": "accuracy" })),
    ]);
    trial.settings["data"]["valid"] = json!([trial.path("first-words.valid.jsonl")]);
    trial.settings["data"]["train"] = json!([trial.path("first-words.jsonl")]);
    trial.write_first_words("first-words.jsonl", 0..1000);
    trial.write_first_words("first-words.valid.jsonl", 1000..1040);
    let watcher = trial.finish();
    let losses = watcher.losses();
    assert!((losses[0] - (512f64).ln()).abs() < 0.5, "untrained, every token is as likely: {}", losses[0]);
    let last = watcher.validations.last().unwrap();
    // The end token counts, and is easily guessed.
    assert!(last.accuracy > 0.8 && last.valid_loss < losses[0] / 10.0, "{last:?}");
}

#[test]
fn the_final_model_is_rounded_to_bfloat16_and_says_so() {
    let trial = Trial::new();
    trial.finish();
    let (masters, saved) = (
        tensors(&trial.checkpoint(6).join("model.safetensors")),
        tensors(&trial.out().join("final/model.safetensors")),
    );
    assert_eq!(masters.keys().collect::<Vec<_>>(), saved.keys().collect::<Vec<_>>());
    for (name, bytes) in &masters {
        let rounded: Vec<u8> =
            floats(bytes).iter().flat_map(|&number| half::bf16::from_f32(number).to_le_bytes()).collect();
        assert!(rounded == saved[name], "{name}");
    }
    assert_eq!(config(&trial)["dtype"], "bfloat16");
    let kept: Value = serde_json::from_slice(&fs::read(trial.checkpoint(6).join("config.json")).unwrap()).unwrap();
    assert_eq!(kept["dtype"], "float32");
}

#[test]
fn a_part_of_a_configuration_that_names_no_number_type_names_none_afterwards() {
    let trial = Trial::with(&[("model.init", json!(fixture::path(SECOND[0])))]);
    trial.finish();
    let config = config(&trial);
    assert_eq!([&config["dtype"], &config["encoder"]["text_config"]["dtype"]], [&json!("bfloat16"), &Value::Null]);
}

#[test]
fn the_final_model_may_be_the_mean_of_the_last_checkpoints() {
    let trial = Trial::with(&[
        ("checkpoints", json!({ "every_steps": 2, "keep": 1, "average_last": 3 })),
        ("model.save_as", json!("f32")),
        ("stage.0.steps", json!(7)),
    ]);
    trial.finish();
    assert_eq!(trial.checkpoints(), ["step-00000002", "step-00000004", "step-00000006", "step-00000007"]);
    let of = |step| tensors(&trial.checkpoint(step).join("model.safetensors"));
    let (four, six, seven) = (of(4), of(6), of(7));
    for (name, bytes) in tensors(&trial.out().join("final/model.safetensors")) {
        let all = [floats(&four[&name]), floats(&six[&name]), floats(&seven[&name])];
        let mean: Vec<f32> = (0..all[0].len())
            .map(|index| (all.iter().map(|own| f64::from(own[index])).sum::<f64>() / 3.0) as f32)
            .collect();
        assert_eq!(floats(&bytes), mean, "{name}");
    }
}

#[test]
fn a_run_ends_early_with_the_best_model_when_validation_stops_getting_better() {
    // So high a rate makes the model worse with every step.
    let mut trial = Trial::with(&[
        ("stage", json!([{ "steps": 40, "learning_rate": 0.1, "schedule": "constant" }])),
        ("validation", json!({ "every_steps": 1, "patience": 4, "samples": 2, "sample_tokens": 4 })),
        ("checkpoints", json!({ "every_steps": 0, "keep": 1 })),
        ("model.save_as", json!("f32")),
    ]);
    trial.settings["data"]["valid"] = json!([trial.path("valid.jsonl")]);
    let mut watcher = Watcher::default();
    let outcome = trial.train(&mut watcher).unwrap();
    let best = watcher.validations.iter().rfind(|validation| validation.best).unwrap();
    assert!(watcher.validations.iter().all(|other| other.valid_loss >= best.valid_loss));
    let expected = Outcome::Finished { model: trial.out().join("final"), steps: best.step + 4, stopped_early: true };
    assert_eq!(outcome, expected);
    assert_eq!(
        tensors(&trial.out().join("final/model.safetensors")),
        tensors(&trial.checkpoint(best.step).join("model.safetensors"))
    );
    assert!(trial.finish().steps.is_empty(), "it stays ended");
    assert_eq!(trial.metrics().1.len(), watcher.validations.len());
}

#[test]
fn validation_shows_figures_and_texts() {
    let mut trial = Trial::with(&[("validation", json!({ "every_steps": 4, "samples": 2, "sample_tokens": 4 }))]);
    trial.settings["data"]["valid"] = json!([trial.path("valid.jsonl")]);
    let watcher = trial.finish();
    assert_eq!(watcher.validations.iter().map(|own| own.step).collect::<Vec<_>>(), [4, 6]);
    let last = &watcher.validations[1];
    assert!((last.perplexity - last.valid_loss.exp()).abs() < 1e-9 && (0.0..=1.0).contains(&last.accuracy));
    assert_eq!(last.samples.len(), 2);
    assert_eq!((last.samples[0].source.as_str(), last.samples[0].expected.as_str()), ("You under", "the"));
}

#[test]
fn a_classifier_is_saved_with_its_labels_and_goes_on_with_them() {
    for init in ["t5gemma-balanced", SECOND[0], "gemma2-source", "gemma3-source"] {
        let trial = |changes: &[(&str, Value)]| {
            let mut trial = Trial::with(&[
                ("objective", json!({ "kind": "classify" })),
                ("model.init", json!(fixture::path(init))),
                ("model.classifier_dropout", json!(0.1)),
                ("validation", json!({ "samples": 1, "metric": "accuracy" })),
            ]);
            trial.settings["data"]["valid"] = json!([trial.path("valid.jsonl")]);
            changes.iter().for_each(|(key, value)| trial.set(key, value.clone()));
            trial
        };
        let (whole, broken) = (trial(&[]), trial(&[]));
        let watcher = whole.finish();
        broken.kill_after(3);
        broken.finish();
        let model = |trial: &Trial| tensors(&trial.out().join("final/model.safetensors"));
        assert_eq!(model(&whole), model(&broken), "{init}");
        assert_eq!(config(&whole)["id2label"], json!({ "0": "even", "1": "odd", "2": "third" }));
        let sample = &watcher.validations[0].samples[0];
        assert!(sample.expected == "odd" && ["even", "odd", "third"].contains(&sample.written.as_str()));
    }
}

#[test]
fn a_decoder_only_model_is_trained_from_random_weights() {
    hold_decoder_only("gemma2-source", "Gemma2ForCausalLM");
    hold_decoder_only("gemma3-source", "Gemma3ForCausalLM");
}

fn hold_decoder_only(shape: &str, class: &str) {
    let trial = Trial::with(&[
        (
            "model",
            json!({
                "config": fixture::path(shape).join("config.json"),
                "tokenizer": fixture::path(shape),
            }),
        ),
        ("objective", json!({ "kind": "causal" })),
        ("data.packing", json!("packed")),
        ("stage.0.learning_rate", json!(1e-2)),
        ("stage.0.steps", json!(20)),
    ]);
    let losses = trial.finish().losses();
    assert!((losses[0] - (512f64).ln()).abs() < 1.0 && losses[19] < losses[0] - 1.0, "{losses:?}");
    assert_eq!(config(&trial)["architectures"], json!([class]));
    assert!(model::DecoderCheckpoint::open(&trial.out().join("final")).is_ok());
}

#[test]
fn a_student_comes_closer_to_its_teacher() {
    let teacher = json!(fixture::path("gemma2-source"));
    for weight in [1.0, 0.5] {
        let trial = Trial::with(&[
            ("distillation", json!({ "teacher": teacher, "temperature": 2.0, "weight": weight })),
            ("stage", json!([{ "steps": 20, "learning_rate": 3e-3 }])),
        ]);
        let losses = trial.finish().losses();
        assert!(losses[19] < 0.9 * losses[0], "{losses:?}");
    }
}

#[test]
fn training_takes_the_mark_of_random_cross_attention_away_after_warming_it_up() {
    let trial = Trial::with(&[
        ("stage", json!([{ "steps": 1, "learning_rate": 1e-3 }])),
        ("checkpoints.every_steps", json!(1)),
    ]);
    let init = trial.path("init");
    fs::create_dir(&init).unwrap();
    for name in ["config.json", "model.safetensors", "tokenizer.json"] {
        fs::copy(fixture::path("t5gemma-unbalanced").join(name), init.join(name)).unwrap();
    }
    let text = fs::read(init.join("config.json")).unwrap();
    let mut marked: Value = serde_json::from_slice(&text).unwrap();
    marked["encdec_cross_attention"] = "random".into();
    fs::write(init.join("config.json"), marked.to_string()).unwrap();
    let mut trial = trial;
    trial.set("model.init", json!(init));
    trial.stop_in(1);
    let state: Value = serde_json::from_slice(&fs::read(trial.checkpoint(1).join("state.json")).unwrap()).unwrap();
    assert_eq!(state["cross_attention_warmup_steps"], 1000);
    let kept: Value = serde_json::from_slice(&fs::read(trial.checkpoint(1).join("config.json")).unwrap()).unwrap();
    assert_eq!(kept.get("encdec_cross_attention"), None);
    assert!(matches!(trial.stop_in(2), Outcome::Stopped { steps: 2, .. }), "the warm-up goes on without the mark");
}
