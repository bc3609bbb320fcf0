//! The routes that the encoder answers, over real models: an encoder-decoder, encoders alone, and classifiers.

use axum::body::Body;
use axum::http::{Request, StatusCode};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use safetensors::SafeTensors;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::answer::Answer;
use crate::app::App;
use crate::demo::rows;
use crate::eval::{CLASS_SCORES, LABELS, case_ids, changed, classifier, fixture};

const BALANCED: &str = "t5gemma-balanced";
/// Tolerance that the fixtures were published with, relative to the largest number.
const STATES: f32 = 1e-4;

/// Settings of a checkpoint whose sources are mostly longer than a batch, so that they pause between layers.
fn settings(folder: &std::path::Path) -> String {
    let path = folder.display().to_string();
    format!("[model]\npath = {path:?}\ntokenizer = \"none\"\n[limits]\nsource_tokens = 512\nstep_encoder_tokens = 8\n")
}

async fn post(app: &App, path: &str, body: &Value) -> Answer {
    Answer::read(app.send(Request::post(path).body(Body::from(body.to_string())).unwrap()).await).await
}

async fn answered(app: &App, path: &str, body: Value) -> Vec<Value> {
    let answer = post(app, path, &body).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    answer.json()["data"].as_array().unwrap().clone()
}

fn float32(base64: &Value) -> Vec<f32> {
    let bytes = STANDARD.decode(base64.as_str().unwrap()).unwrap();
    bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

/// States of transformers for each case of a fixture.
fn expected(name: &str) -> Vec<Vec<f32>> {
    let bytes = std::fs::read(fixture(name).join("expected.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let states = |index| {
        let tensor = file.tensor(&format!("{index}.encoder_last_hidden_state")).unwrap();
        tensor.data().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
    };
    (0..case_ids(name).len()).map(states).collect()
}

fn near(own: &[f32], wanted: &[f32]) {
    let largest = wanted.iter().fold(0.0_f32, |max, number| max.max(number.abs()));
    assert_eq!(own.len(), wanted.len());
    let is_near = |(own, wanted): (&f32, &f32)| (own - wanted).abs() <= STATES * largest;
    assert!(own.iter().zip(wanted).all(is_near), "{own:?} {wanted:?}");
}

/// Asks for the states of all cases of the balanced checkpoint, which have to be those of transformers.
async fn check_states(app: &App, name: &str) {
    let encoded = answered(app, "/v1/encode", json!({"input": case_ids(name)})).await;
    assert_eq!(encoded.len(), case_ids(name).len());
    for (states, expected) in encoded.iter().zip(expected(name)) {
        near(&float32(&states["states"]), &expected);
    }
}

/// The balanced checkpoint's encoder without its decoder.
fn encoder_alone() -> TempDir {
    changed(
        BALANCED,
        |all| all.retain(|(name, ..)| name.starts_with("model.encoder.")),
        |config| {
            config["architectures"] = json!(["T5GemmaEncoderModel"]);
            config["is_encoder_decoder"] = json!(false);
        },
    )
}

#[tokio::test]
async fn states_and_embeddings_are_those_of_transformers() {
    for name in [BALANCED, "t5gemma-unbalanced"] {
        let app = App::start(&settings(&fixture(name)));
        check_states(&app, name).await;
        let inputs = case_ids(name);
        let body = |pooling: &str| {
            let mut body = json!({"input": inputs, "normalize": false, "encoding_format": "base64"});
            body["pooling"] = json!(pooling);
            body
        };
        let (mean, last) = (
            answered(&app, "/v1/embeddings", body("mean")).await,
            answered(&app, "/v1/embeddings", body("last")).await,
        );
        for ((mean, last), (states, ids)) in mean.iter().zip(&last).zip(expected(name).iter().zip(&inputs)) {
            let width = states.len() / ids.as_array().unwrap().len();
            near(&float32(&last["embedding"]), &states[states.len() - width..]);
            let column = |column: usize| states.iter().skip(column).step_by(width).sum::<f32>();
            let expected: Vec<f32> = (0..width).map(|at| column(at) * width as f32 / states.len() as f32).collect();
            near(&float32(&mean["embedding"]), &expected);
        }
        app.idle().await;
    }
}

#[tokio::test]
async fn an_encoder_alone_gives_its_states_and_generates_nothing() {
    let folder = encoder_alone();
    let app = App::start(&settings(folder.path()));
    check_states(&app, BALANCED).await;
    let answer = app.post(&json!({"prompt": [5, 6], "max_tokens": 4})).await;
    assert_eq!((answer.status, &answer.json()["error"]["code"]), (StatusCode::BAD_REQUEST, &json!("model_cannot")));
    assert!(answer.text.contains("is an encoder without a decoder and cannot generate text"), "{}", answer.text);
    let answer = post(&app, "/v1/classify", &json!({"input": [5, 6]})).await;
    assert!(answer.text.contains("has no classification head"), "{}", answer.text);
    let engine = app.engine().clone();
    tokio::task::spawn_blocking(move || server::engine::self_test(&engine, 0)).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_classifier_scores_its_classes_as_transformers_does() {
    let folder = classifier(json!({"0": LABELS[0], "1": LABELS[1], "2": LABELS[2]}));
    let app = App::start(&settings(folder.path()));
    let body = json!({"input": case_ids(BALANCED), "use_activation": false});
    let classes = answered(&app, "/v1/classify", body).await;
    for (class, expected) in classes.iter().zip(CLASS_SCORES) {
        let scores: Vec<f64> = class["probs"].as_array().unwrap().iter().map(|score| score.as_f64().unwrap()).collect();
        assert!(scores.iter().zip(expected).all(|(own, other)| (own - other).abs() < 1e-3), "{scores:?} {expected:?}");
        let best = (0..3).max_by(|a, b| scores[*a].total_cmp(&scores[*b])).unwrap();
        assert_eq!(class["label"], LABELS[best]);
    }
    check_states(&app, BALANCED).await;
}

#[tokio::test]
async fn results_do_not_depend_on_what_else_the_server_does() {
    let app = App::start("[limits]\nstep_encoder_tokens = 64\n");
    let texts: Vec<String> = rows().iter().take(24).map(|row| row.input.clone()).collect();
    let embedding = |text: &str| json!({"input": text, "encoding_format": "base64"});
    let mut alone = Vec::new();
    for text in &texts {
        alone.push(answered(&app, "/v1/embeddings", embedding(text)).await[0]["embedding"].clone());
    }
    let complete = |text: &String| json!({"prompt": text, "max_tokens": 24, "temperature": 0});
    let alone_written = app.post(&complete(&texts[0])).await.choice();
    let streams: Vec<_> = texts.iter().take(8).map(|text| app.spawn(&complete(text))).collect();
    let together = texts.iter().map(|text| {
        let (app, body) = (app.clone(), embedding(text));
        tokio::spawn(async move { answered(&app, "/v1/embeddings", body).await[0]["embedding"].clone() })
    });
    let together: Vec<_> = together.collect();
    for (own, alone) in together.into_iter().zip(alone) {
        assert_eq!(own.await.unwrap(), alone);
    }
    let mut written = Vec::new();
    for stream in streams {
        written.push(stream.await.unwrap().choice());
    }
    assert_eq!(written[0], alone_written);
    app.idle().await;
}
