//! A UTF-8 byte-order mark before what people give changes nothing, wherever JSON, JSONL or TOML is read.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::process::run;
use crate::train::{Place, finished, fixture};

const MARK: &str = "\u{feff}";

/// Puts a mark before a file's text.
fn mark(path: &Path) {
    let text = fs::read_to_string(path).unwrap();
    fs::write(path, format!("{MARK}{text}")).unwrap();
}

/// A place with twelve pairs, and a checkpoint of its own; `marked` are the files that get a mark.
fn place(marked: &[&str]) -> Place {
    let place = Place::new();
    let row =
        |word: &str, row: usize| format!("{{\"input\": \"a {word} library {row}\", \"target\": \"lib {row}\"}}\n");
    let rows = |word: &str| (0..12).map(|number| row(word, number)).collect::<String>();
    fs::write(place.path("train.jsonl"), rows("small")).unwrap();
    fs::write(place.path("valid.jsonl"), rows("large")).unwrap();
    fs::create_dir(place.path("model")).unwrap();
    for name in ["config.json", "generation_config.json", "tokenizer.json", "model.safetensors"] {
        fs::copy(fixture("t5gemma-balanced").join(name), place.path("model").join(name)).unwrap();
    }
    marked.iter().for_each(|name| mark(&place.path(name)));
    place
}

/// The lines of a run's metrics without times.
fn metrics(place: &Place, run: &str) -> Vec<Value> {
    let mut lines: Vec<Value> =
        place.text(&format!("{run}/metrics.jsonl")).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for line in &mut lines {
        ["elapsed_s", "tokens_per_s"].iter().for_each(|key| line[key] = Value::Null);
    }
    lines
}

const FILES: [&str; 5] =
    ["train.jsonl", "valid.jsonl", "model/config.json", "model/generation_config.json", "model/tokenizer.json"];

#[test]
fn a_run_is_the_same_with_a_mark_before_every_file_that_it_reads() {
    let trained = |marked: &[&str]| {
        let place = place(marked);
        let settings = place.settings("run", |text| {
            let init = text.lines().find(|line| line.starts_with("init = ")).unwrap().to_owned();
            text.replace(&init, "init = 'model'")
                .replace("steps = 120", "steps = 2")
                .replace("dropout = 0.1", "")
                .replace("batch_tokens = 60", "batch_tokens = 8192")
        });
        if !marked.is_empty() {
            mark(&settings);
        }
        finished(&settings);
        let config = place.text("run/final/config.json");
        assert!(!config.starts_with(MARK) && !place.text("run/final/tokenizer.json").starts_with(MARK));
        metrics(&place, "run")
    };
    let plain = trained(&[]);
    assert_eq!(trained(&FILES), plain);
    // What transformers gives for the twelve pairs.
    assert!((plain[0]["loss"].as_f64().unwrap() - 23.037).abs() < 2e-3, "{}", plain[0]);
}

#[test]
fn an_evaluation_is_the_same_with_a_mark_before_every_file_that_it_reads() {
    let evaluated = |marked: &[&str]| {
        let place = place(marked);
        let config = place.path("config.toml");
        fs::write(&config, "[model]\ndtype = 'f32'\nthreads = 1\n").unwrap();
        if !marked.is_empty() {
            mark(&config);
        }
        let [config, model, data] =
            [config, place.path("model"), place.path("train.jsonl")].map(|path| path.display().to_string());
        let output =
            run(&["eval", "--config", &config, "--model", &model, "--data", &data, "--metrics", "loss", "--json"]);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        serde_json::from_slice::<Value>(&output.stdout).unwrap()["loss"].as_f64().unwrap()
    };
    let plain = evaluated(&[]);
    assert_eq!(evaluated(&FILES), plain);
    assert!((plain - 23.037).abs() < 2e-3, "{plain}");
}
