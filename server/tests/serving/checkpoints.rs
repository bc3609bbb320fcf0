//! Odd checkpoints as a shell sees them: what is said of them, once, and what they cost.

use std::fs;
use std::path::Path;
use std::time::Instant;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::answer::PATIENCE;
use crate::eval::{assert_near, changed, data, evaluated, fixture, text};
use crate::process::{ServerProcess, complaint, run};

const BALANCED: &str = "t5gemma-balanced";
const EMBEDDING: &str = "model.decoder.embed_tokens.weight";
const OUTPUT: &str = "lm_head.out_proj.weight";
/// Start of the warning about two tables that should be one.
const NOT_TIED: &str = "config.json ties lm_head.out_proj.weight to model.decoder.embed_tokens.weight, but";

type Tensors = Vec<(String, Vec<usize>, Vec<u8>)>;

/// Stores the rows of a table in reverse under another name.
fn add_reversed(all: &mut Tensors, table: &str, name: &str) {
    let (_, shape, bytes) = all.iter().find(|(name, ..)| name == table).unwrap();
    let rows: Vec<u8> = bytes.chunks(bytes.len() / shape[0]).rev().flatten().copied().collect();
    all.push((name.to_owned(), shape.clone(), rows));
}

fn with_other_head() -> TempDir {
    changed(BALANCED, |all| add_reversed(all, EMBEDDING, OUTPUT), |_| ())
}

/// Standard error of a command that succeeds.
fn said(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {output:?}");
    String::from_utf8(output.stderr).unwrap()
}

/// The loss of one row, with the warnings that came with it.
fn loss(model: &Path) -> (Value, Value) {
    let place = tempfile::tempdir().unwrap();
    let rows = data(&place, [json!({"input": "a small library", "target": "lib"})]);
    let figures = evaluated(&["--model", text(model), "--data", &rows, "--metrics", "loss"]);
    (figures.clone(), figures["warnings"].clone())
}

#[test]
fn every_command_warns_of_an_output_table_that_is_not_the_one_it_should_be_and_uses_it() {
    let (model, place) = (with_other_head(), tempfile::tempdir().unwrap());
    let (figures, warnings) = loss(model.path());
    // As transformers 5.17 has it.
    assert_near(&figures, "loss", 34.808, 2e-3);
    assert!(warnings[0].as_str().unwrap().starts_with(NOT_TIED), "{warnings}");

    let (model, out) = (text(model.path()), text(&place.path().join("copy")).to_owned());
    let warns = |arguments: &[&str]| {
        let said = said(arguments);
        assert_eq!(said.matches(NOT_TIED).count(), 1, "{arguments:?}: {said}");
        assert!(said.contains("WARN"), "{said}");
    };
    warns(&["generate", "--model", model, "--max-tokens", "1", "a"]);
    warns(&["quantize", "--model", model, "--out", &out, "--scheme", "int8"]);
    let rows = data(&place, [json!({"input": "a small library", "target": "lib"})]);
    let settings = format!(
        "out = 'run'\nthreads = 1\n[model]\ninit = '{model}'\n[objective]\nkind = 'seq2seq'\n[data]\n\
         train = ['{rows}']\n[[stage]]\nsteps = 1\nlearning_rate = 1e-3\n[validation]\nsamples = 0\n"
    );
    let path = place.path().join("train.toml");
    fs::write(&path, settings).unwrap();
    warns(&["train", "--config", text(&path)]);
    let steps = fs::read_to_string(place.path().join("run/metrics.jsonl")).unwrap();
    assert_near(&serde_json::from_str(steps.lines().next().unwrap()).unwrap(), "loss", 34.808, 2e-3);
    assert!(loss(&place.path().join("run/final")).1.is_null(), "what was trained says that it has two tables");
}

#[test]
fn adapting_warns_of_an_output_table_that_is_not_the_one_it_should_be() {
    let add = |all: &mut Tensors| add_reversed(all, "model.embed_tokens.weight", "lm_head.weight");
    let (source, place) = (changed("gemma2-source", add, |_| ()), tempfile::tempdir().unwrap());
    let (decoder, encoder, out) = (source.path(), fixture("gemma2-source"), place.path().join("out"));
    let said = said(&["adapt", "--encoder", text(&encoder), "--decoder", text(decoder), "--out", text(&out)]);
    assert_eq!(said.matches("config.json ties lm_head.weight to model.embed_tokens.weight, but").count(), 1, "{said}");
}

#[test]
fn a_tied_table_under_the_name_of_the_output_table_is_evaluated_without_a_word() {
    let rename = |all: &mut Tensors| {
        all.iter_mut().filter(|(name, ..)| name == EMBEDDING).for_each(|(name, ..)| {
            OUTPUT.clone_into(name);
        })
    };
    let (figures, warnings) = loss(changed(BALANCED, rename, |_| ()).path());
    // As transformers 5.17 has it.
    assert_near(&figures, "loss", 18.896, 2e-3);
    assert!(warnings.is_null(), "{warnings}");
}

#[test]
fn keys_of_the_generation_config_that_nobody_honours_are_named_once() {
    let model = changed(BALANCED, |_| (), |_| ());
    let generation = json!({
        "eos_token_id": 1, "do_sample": true, "top_k": 64, "num_beams": 1, "penalty_alpha": 0.6,
        "guidance_scale": 1.5, "max_length": null,
        "cache_implementation": "hybrid", "transformers_version": "5.17.0",
    });
    fs::write(model.path().join("generation_config.json"), generation.to_string()).unwrap();
    let expected = "these keys of generation_config.json have no effect here: penalty_alpha, guidance_scale;";
    let said = said(&["generate", "--model", text(model.path()), "--max-tokens", "1", "a"]);
    assert_eq!((said.matches(expected).count(), said.lines().count()), (1, 1), "{said}");
}

#[test]
fn a_generation_config_that_cannot_be_honoured_is_refused_with_what_to_do() {
    let model = changed(BALANCED, |_| (), |_| ());
    for (generation, words) in [
        (json!({"repetition_penalty": -1}), "repetition_penalty is -1"),
        (json!({"num_beams": 64}), "num_beams 64"),
        (json!({"do_sample": true, "num_beams": 4}), "num_beams"),
    ] {
        fs::write(model.path().join("generation_config.json"), generation.to_string()).unwrap();
        let complaint = complaint(&["serve", "--port", "0", "--model", text(model.path())]);
        assert!(complaint.contains(words), "{complaint}");
        assert!(complaint.contains("[model] generation_config = \"ignore\""), "{complaint}");
    }
}

#[test]
fn weights_that_are_no_numbers_are_refused_at_load_with_the_tensors_name() {
    let broken = "model.decoder.layers.0.mlp.up_proj.weight";
    let break_it = |all: &mut Tensors| {
        let (.., bytes) = all.iter_mut().find(|(name, ..)| name == broken).unwrap();
        bytes[..4].copy_from_slice(&f32::INFINITY.to_le_bytes());
    };
    let model = changed(BALANCED, break_it, |_| ());
    let words = complaint(&["serve", "--port", "0", "--model", text(model.path())]);
    assert!(words.starts_with(broken) && words.contains("holds NaN or infinite numbers"), "{words}");
}

#[test]
fn a_broken_configuration_names_its_reason_once() {
    let model = changed(BALANCED, |_| (), |_| ());
    fs::write(model.path().join("config.json"), "{\"model_type\": ").unwrap();
    let words = complaint(&["generate", "--model", text(model.path()), "a"]);
    assert_eq!(words.matches("EOF while parsing").count(), 1, "{words}");
    assert!(words.contains("config.json is not valid JSON"), "{words}");
}

/// Two tables of rotary angles of 1 GiB each were made for it.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_checkpoint_for_endless_sequences_takes_memory_for_those_that_may_come() {
    let endless = |config: &mut Value| {
        for stack in ["encoder", "decoder"] {
            config[stack]["max_position_embeddings"] = json!(1 << 24);
        }
    };
    let model = changed(BALANCED, |_| (), endless);
    let server = ServerProcess::start(&["--model", text(model.path()), "--threads", "1"]);
    let (address, began) = (format!("http://{}/ready", server.address), Instant::now());
    while !reqwest::get(&address).await.unwrap().status().is_success() {
        assert!(began.elapsed() < PATIENCE, "it is not ready");
    }
    let peak = server.peak_bytes();
    assert!(peak < 1 << 30, "{peak} bytes");
}
