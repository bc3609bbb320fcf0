//! A checkpoint of the second generation in service: texts are those of transformers, images are refused.

use std::fs;

use axum::body::Body;
use axum::http::Request;
use futures_util::future::join_all;
use safetensors::{SafeTensors, serialize};
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::app::App;
use crate::eval::{fixture, text};
use crate::process::{complaint, run};
use crate::train::{Place, finished};

const SCALED: &str = "t5gemma2-scaled";
/// Its two end tokens.
const ENDS: [u64; 2] = [1, 6];

fn settings(more: &str) -> String {
    format!("[model]\npath = {:?}\n{more}", text(&fixture(SCALED)))
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
    let fixture = fixture("t5gemma2-tiny");
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
