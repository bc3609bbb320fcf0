//! A checkpoint of the second generation in service: texts are those of transformers, images are refused.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use axum::body::Body;
use axum::http::Request;
use futures_util::future::join_all;
use safetensors::{SafeTensors, serialize};
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::app::App;
use crate::eval::{evaluated, fixture, text};
use crate::process::{complaint, run};
use crate::train::{Place, finished};

const SCALED: &str = "t5gemma2-scaled";
const TINY: &str = "t5gemma2-tiny";
/// Its two end tokens.
const ENDS: [u64; 2] = [1, 6];

fn settings(more: &str) -> String {
    settings_of(&fixture(SCALED), more)
}

fn settings_of(folder: &Path, more: &str) -> String {
    format!("[model]\npath = {:?}\n{more}", text(folder))
}

fn cases() -> Vec<Value> {
    let cases: Value = serde_json::from_slice(&fs::read(fixture(SCALED).join("cases.json")).unwrap()).unwrap();
    cases["text_cases"].as_array().unwrap().clone()
}

/// Ids that greedy decoding writes up to the first end token.
fn until_end(ids: &Value) -> Vec<u64> {
    let ids: Vec<u64> = ids.as_array().unwrap().iter().map(|id| id.as_u64().unwrap()).collect();
    let end = ids.iter().position(|id| ENDS.contains(id)).map_or(ids.len(), |end| end + 1);
    ids[..end].to_vec()
}

async fn greedy(app: &App, prompt: &Value) -> Value {
    let asked = json!({"prompt": prompt, "max_tokens": 24, "temperature": 0, "return_token_ids": true, "logprobs": 1});
    let answer = app.post(&asked).await;
    assert_eq!(answer.status.as_u16(), 200, "{}", answer.text);
    answer.json()["choices"][0].clone()
}

#[tokio::test]
async fn texts_are_those_of_transformers() {
    let app = App::start(&settings(""));
    for case in cases() {
        let choice = greedy(&app, &case["text"]).await;
        let written = until_end(&case["greedy_ids"]);
        assert_eq!(choice["token_ids"], json!(written), "{}", case["text"]);
        let log_probs = choice["logprobs"]["token_logprobs"].as_array().unwrap();
        for (own, expected) in log_probs.iter().zip(case["greedy_logprobs"].as_array().unwrap()) {
            assert!((own.as_f64().unwrap() - expected.as_f64().unwrap()).abs() < 1e-3, "{}", case["text"]);
        }
    }
    app.idle().await;
}

#[tokio::test]
async fn every_arithmetic_answers_alike_alone_and_beside_others() {
    for more in ["dtype = \"bf16\"\n", "quantize = \"int8\"\n", "quantize = \"int4\"\n"] {
        let app = App::start(&settings(more));
        let prompts: Vec<Value> = cases().into_iter().map(|case| case["text"].clone()).collect();
        let mut alone = Vec::new();
        for prompt in &prompts {
            alone.push(greedy(&app, prompt).await);
        }
        let together = join_all(prompts.iter().map(|prompt| greedy(&app, prompt))).await;
        assert_eq!(together, alone, "{more}");
        app.idle().await;
    }
}

#[tokio::test]
async fn an_image_is_answered_with_a_sentence() {
    let app = App::start(&settings(""));
    let image = json!({"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}});
    let content = json!([{"type": "text", "text": "in this image, there is"}, image]);
    let body = json!({"messages": [{"role": "user", "content": content}], "max_tokens": 4});
    let request = Request::post("/v1/chat/completions").body(Body::from(body.to_string())).unwrap();
    let answer = Answer::read(app.send(request).await).await;
    assert_eq!(answer.status.as_u16(), 400, "{}", answer.text);
    assert!(answer.text.contains("this server reads no images"), "{}", answer.text);
}

#[tokio::test]
async fn a_prompt_without_tokens_is_refused_though_the_decoder_writes_without_a_source() {
    let app = App::start(&settings(""));
    let empty_list = "must not be an empty list";
    for (prompt, said) in [
        (json!(""), "'prompt' has no tokens"),
        (json!(["a", ""]), "'prompt[1]' has no tokens"),
        (json!([]), empty_list),
        (json!([[2, 40], []]), empty_list),
    ] {
        let asked = json!({"prompt": prompt, "add_special_tokens": false, "decoder_prompt": "a", "max_tokens": 1});
        let message = app.post(&asked).await.error(400, Some("prompt"), None);
        assert!(message.contains(said), "{message}");
    }
    let scored = json!({"text_1": "", "text_2": "a", "add_special_tokens": false});
    let message = app.post_to("/v1/score", &scored).await.error(400, Some("text_1"), None);
    assert!(message.contains("'text_1' has no tokens"), "{message}");
    app.idle().await;
}

#[test]
fn the_log_says_once_that_a_tower_for_images_is_not_loaded() {
    let output = run(&["generate", "--model", text(&fixture(SCALED)), "--max-tokens", "1", "--log-level", "info", "a"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(said.matches("a tower for images, which is not loaded").count(), 1, "{said}");
}

#[test]
fn the_log_names_once_the_tensors_that_are_not_read() {
    let bytes = fs::read(fixture(SCALED).join("model.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let norm = tensors.tensor("model.decoder.norm.weight").unwrap();
    let extra: Vec<String> = (0..7).map(|layer| format!("model.decoder.layers.{layer}.extra.weight")).collect();
    let all = tensors.tensors().into_iter().chain(extra.iter().map(|name| (name.clone(), norm.clone())));
    let folder = tempfile::tempdir().unwrap();
    for name in ["config.json", "generation_config.json", "tokenizer.json"] {
        fs::copy(fixture(SCALED).join(name), folder.path().join(name)).unwrap();
    }
    fs::write(folder.path().join("model.safetensors"), serialize(all, None).unwrap()).unwrap();
    let output = run(&["generate", "--model", text(folder.path()), "--max-tokens", "1", "a"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    let expected = format!("7 tensors are not read, because the configuration does not call for them: {}", extra[0]);
    assert_eq!(said.matches(&expected).count(), 1, "{said}");
    assert!(said.contains(&format!("{} and 2 more", extra[4])), "{said}");
}

#[test]
fn adapting_refuses_it_with_a_sentence() {
    let (model, place) = (fixture(SCALED), tempfile::tempdir().unwrap());
    let out = place.path().join("out");
    let said = complaint(&["adapt", "--encoder", text(&model), "--decoder", text(&model), "--out", text(&out)]);
    assert!(said.contains("t5gemma2") && said.contains("gemma2"), "{said}");
}

#[test]
fn one_is_trained_from_random_weights_and_writes_what_it_has_learned() {
    let place = Place::new();
    let fixture = fixture(TINY);
    let settings = place.settings("run", |_| {
        format!(
            "out = 'run'\nthreads = 1\n[model]\nconfig = '{0}/config.json'\ntokenizer = '{0}'\n\
             [objective]\nkind = 'seq2seq'\n[data]\ntrain = ['train.jsonl']\nvalid = ['valid.jsonl']\n\
             batch_tokens = 400\n[[stage]]\nsteps = 400\nlearning_rate = 5e-3\nwarmup_steps = 20\n\
             [validation]\nevery_steps = 0\nsamples = 2\nsample_tokens = 8\n",
            fixture.display()
        )
    });
    let (said, _) = finished(&settings);
    assert!(said.contains("run/final: trained for 400 steps"), "{said}");
    let model = place.path("run/final");
    let rows = place.text("train.jsonl");
    for row in rows.lines().take(3) {
        let row: Value = serde_json::from_str(row).unwrap();
        let source = row["input"].as_str().unwrap();
        let output = run(&["generate", "--model", text(&model), "--temperature", "0", "--max-tokens", "8", source]);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let written = String::from_utf8(output.stdout).unwrap();
        assert_eq!(written.trim(), row["target"], "{source}");
    }
}

/// Rows that every objective finds its fields in; the label follows from the last word.
fn write_rows(place: &Place) {
    const WORDS: [&str; 6] = ["You", "may", "copy", "the", "work", "License"];
    let mut rows = String::new();
    for row in 0..24 {
        let words: Vec<&str> = (0..4 + row % 3).map(|at| WORDS[(row + at) % 6]).collect();
        let (whole, label) = (words.join(" "), if (row + words.len() - 1) % 6 < 3 { "early" } else { "late" });
        writeln!(rows, r#"{{"text": "{whole}", "input": "{whole}", "label": "{label}"}}"#).unwrap();
    }
    fs::write(place.path("rows.jsonl"), rows).unwrap();
}

/// The final model of a run from the tiny pair on these rows.
fn trained(place: &Place, steps: u32, objective: &str) -> PathBuf {
    let settings = place.settings("run", |_| {
        format!(
            "out = 'run'\nthreads = 1\n[model]\ninit = '{}'\n{objective}\n[data]\ntrain = ['rows.jsonl']\n\
             batch_tokens = 2000\n[[stage]]\nsteps = {steps}\nlearning_rate = 5e-3\nwarmup_steps = 5\n",
            fixture(TINY).display()
        )
    });
    let (said, _) = finished(&settings);
    assert!(said.contains(&format!("trained for {steps} steps")), "{said}");
    assert!(said.contains("\nserve it: server --model "), "{said}");
    place.path("run/final")
}

/// Figures of `server eval` on the rows.
fn figures(place: &Place, model: &Path, objective: &str, metrics: &str) -> Value {
    let rows = place.path("rows.jsonl");
    let asked = ["--model", text(model), "--data", text(&rows), "--objective", objective, "--metrics", metrics];
    evaluated(&asked)
}

#[tokio::test]
async fn one_that_learned_to_continue_texts_from_a_teacher_is_measured_and_served() {
    let place = Place::new();
    write_rows(&place);
    let teacher = fixture("gemma3-source");
    let objective =
        format!("[objective]\nkind = 'prefix_lm'\n[distillation]\nteacher = '{}'\nweight = 0.1\n", teacher.display());
    let model = trained(&place, 100, &objective);
    let loss = |model: &Path| figures(&place, model, "prefix_lm", "loss")["loss"].as_f64().unwrap();
    let (before, after) = (loss(&fixture(TINY)), loss(&model));
    assert!(after < before / 4.0, "{after}, before {before}");
    let app = App::start(&settings_of(&model, ""));
    // The first half of one of the texts.
    let choice = greedy(&app, &json!("You may cop")).await;
    assert!(choice["text"].as_str().unwrap().starts_with("y the"), "{choice}");
    app.idle().await;
}

#[tokio::test]
async fn one_that_learned_to_denoise_fills_gaps_with_the_sentinels_of_its_training() {
    let place = Place::new();
    write_rows(&place);
    let pieces = "sentinels = ['<0x00>', '<0x01>', '<0x02>', '<0x03>']\nmode_tokens = []\n";
    let model = trained(&place, 60, &format!("[objective]\nkind = 'ul2'\n{pieces}"));
    let app = App::start(&settings_of(&model, ""));
    let infilling = app.model().infilling.as_ref().unwrap();
    let tokenizer = app.model().tokenizer.clone().unwrap();
    let first = tokenizer.id_of("<0x00>").unwrap();
    assert_eq!((infilling.sentinels().len(), infilling.sentinels()[0], infilling.mode()), (4, first, None));
    let asked = json!({"prompt": "You may copy", "suffix": " License", "max_tokens": 8, "temperature": 0});
    let answer = app.post(&asked).await;
    assert_eq!(answer.status.as_u16(), 200, "{}", answer.text);
    app.idle().await;
}

#[tokio::test]
async fn one_that_learned_labels_is_measured_and_served_as_a_classifier() {
    let place = Place::new();
    write_rows(&place);
    let model = trained(&place, 60, "[objective]\nkind = 'classify'");
    let found = figures(&place, &model, "classify", "accuracy");
    assert_eq!([&found["architecture"], &found["accuracy"]], [&json!("encoder classifier"), &json!(1.0)]);
    let app = App::start(&settings_of(&model, ""));
    for line in place.text("rows.jsonl").lines().take(8) {
        let row: Value = serde_json::from_str(line).unwrap();
        let answer = app.post_to("/v1/classify", &json!({"input": row["input"]})).await;
        assert_eq!(answer.json()["data"][0]["label"], row["label"], "{}", answer.text);
    }
    let answer = app.post(&json!({"prompt": "You may", "max_tokens": 1})).await;
    assert_eq!(answer.json()["error"]["code"], "model_cannot", "{}", answer.text);
}
