//! `POST /v1/encode`, `/v1/classify` and `/pooling`; queue, memory, clients that leave, and the end of the engine on
//! all routes that the encoder answers.

use axum::http::StatusCode;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use server::engine::Command;
use server::request::{EncodingEvent, FailureKind, Readout};
use server::telemetry::Outcome;

use crate::app::{App, Setup, WIDTH, wait_for};
use crate::embeddings::app;
use crate::scripted_engine::{generate, state};

/// An app whose model tells three classes apart.
fn classifier() -> App {
    let labels = ["libs", "net", "games"].map(str::to_owned).to_vec();
    App::scripted(Setup { labels, ..Setup::default() }, |request| generate(request, &[5]))
}

async fn answered(app: &App, path: &str, body: Value) -> Value {
    let answer = app.post(path, &body).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    answer.json()
}

fn float32(base64: &Value) -> Vec<f32> {
    let bytes = STANDARD.decode(base64.as_str().unwrap()).unwrap();
    bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

#[tokio::test]
async fn states_come_token_by_token_with_their_shape() {
    let body = answered(&app(), "/v1/encode", json!({"input": [[6, 8], [9]]})).await;
    let data = body["data"].as_array().unwrap();
    for (states, sources) in data.iter().zip([vec![6, 8], vec![9]]) {
        assert_eq!((&states["shape"], &states["tokens"]), (&json!([sources.len(), WIDTH]), &json!(sources.len())));
        assert_eq!((&states["object"], &states["dtype"]), (&json!("states"), &json!("float32")));
        let expected: Vec<f32> = sources.into_iter().flat_map(state).collect();
        assert_eq!(float32(&states["states"]), expected);
    }
    assert_eq!(body["usage"]["prompt_tokens"], 3);
}

#[tokio::test]
async fn padding_puts_rows_of_zeros_behind_the_states() {
    let app = app();
    let inputs = json!([[6, 8], [9]]);
    for (padding, rows) in [(json!({"padding": "longest"}), 2), (json!({"padding": "max_length", "max_length": 3}), 3)]
    {
        let mut asked = json!({"input": inputs});
        asked.as_object_mut().unwrap().extend(padding.as_object().unwrap().clone());
        let body = answered(&app, "/v1/encode", asked).await;
        let short = &body["data"][1];
        assert_eq!((&short["shape"], &short["tokens"]), (&json!([rows, WIDTH]), &json!(1)));
        let mut expected = state(9).to_vec();
        expected.resize(rows * WIDTH, 0.0);
        assert_eq!(float32(&short["states"]), expected);
    }
    for (asked, param) in [
        (json!({"input": inputs, "padding": "max_length", "max_length": 1}), "input"),
        (json!({"input": inputs, "padding": "max_length"}), "max_length"),
        (json!({"input": inputs, "max_length": 4}), "max_length"),
        (json!({"input": inputs, "padding": "left"}), "padding"),
        (json!({"input": inputs, "dtype": "float16"}), "dtype"),
    ] {
        let answer = app.post("/v1/encode", &asked).await;
        assert_eq!(
            (answer.status, &answer.json()["error"]["param"]),
            (StatusCode::BAD_REQUEST, &json!(param)),
            "{asked}"
        );
    }
}

#[tokio::test]
async fn states_in_bfloat16_are_half_as_long() {
    let body = answered(&app(), "/v1/encode", json!({"input": [6], "dtype": "bfloat16"})).await;
    let bytes = STANDARD.decode(body["data"][0]["states"].as_str().unwrap()).unwrap();
    let numbers: Vec<f32> = bytes
        .as_chunks::<2>()
        .0
        .iter()
        .map(|bytes| f32::from_bits(u32::from(u16::from_le_bytes(*bytes)) << 16))
        .collect();
    assert_eq!((numbers, &body["data"][0]["dtype"]), (state(6).to_vec(), &json!("bfloat16")));
}

#[tokio::test]
async fn classes_come_with_their_names_as_probabilities_or_scores() {
    let app = classifier();
    for path in ["/v1/classify", "/classify"] {
        let body = answered(&app, path, json!({"input": [1, 3, 2]})).await;
        let class = &body["data"][0];
        assert_eq!((&class["label"], &class["num_classes"], &class["index"]), (&json!("net"), &json!(3), &json!(0)));
        let probs: Vec<f64> = class["probs"].as_array().unwrap().iter().map(|prob| prob.as_f64().unwrap()).collect();
        assert!((probs.iter().sum::<f64>() - 1.0).abs() < 1e-6 && (probs[1] / probs[2]).ln() - 1.0 < 1e-6, "{probs:?}");
    }
    let body = answered(&app, "/v1/classify", json!({"input": [1, 3, 2], "use_activation": false})).await;
    assert_eq!(body["data"][0]["probs"], json!([1.0, 3.0, 2.0]));
}

#[tokio::test]
async fn a_model_without_a_head_scores_no_classes() {
    for (path, body) in
        [("/v1/classify", json!({"input": "a"})), ("/pooling", json!({"input": "a", "task": "classify"}))]
    {
        let answer = app().post(path, &body).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{}", answer.text);
        let error = &answer.json()["error"];
        assert_eq!((&error["code"], &error["param"]), (&json!("model_cannot"), &json!("model")));
    }
}

#[tokio::test]
async fn pooling_gives_states_vectors_or_classes_by_its_task() {
    let app = classifier();
    let data = |body: Value| body["data"][0]["data"].clone();
    let states = data(answered(&app, "/pooling", json!({"input": [6, 8]})).await);
    assert_eq!(states, json!([state(6), state(8)]));
    let whole = data(answered(&app, "/pooling", json!({"input": [6, 8], "encoding_format": "base64"})).await);
    assert_eq!(float32(&whole), [state(6), state(8)].concat());
    let vector = data(answered(&app, "/pooling", json!({"input": [6, 8], "task": "embed"})).await);
    let embedding = answered(&app, "/v1/embeddings", json!({"input": [6, 8]})).await;
    assert_eq!(vector, embedding["data"][0]["embedding"]);
    let classes = data(answered(&app, "/pooling", json!({"input": [1, 3, 2], "task": "classify"})).await);
    assert_eq!(classes, answered(&app, "/v1/classify", json!({"input": [1, 3, 2]})).await["data"][0]["probs"]);
}

#[tokio::test]
async fn inputs_take_places_in_the_queue_before_anything_is_tokenised() {
    let (app, hand) = App::by_hand(Setup { queued_rows: 3, ..Setup::default() });
    let answer = app.post("/v1/embeddings", &json!({"input": ["a", "b", "c", "d"]})).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST, "more than the queue ever holds: {}", answer.text);
    let held = app.engine().reserve(server::request::Salt::default(), 2).unwrap();
    let answer = app.post("/v1/embeddings", &json!({"input": ["a", "b"]})).await;
    assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS, "{}", answer.text);
    assert!(hand.is_idle() && app.metrics().tokenize_seconds.get_sample_count() == 0);
    drop(held);
    app.all_slots_free().await;
}

#[tokio::test]
async fn an_answer_that_would_not_fit_the_memory_of_answers_is_refused_before_it_is_encoded() {
    let (app, hand) = App::by_hand(Setup { answer_bytes: 2000, ..Setup::default() });
    let answer = app.post("/v1/encode", &json!({"input": vec![7; 200]})).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{}", answer.text);
    assert!(answer.text.contains("bytes of answer"), "{}", answer.text);
    let padded = json!({"input": [7], "padding": "max_length", "max_length": 1_000_000});
    assert_eq!(app.post("/v1/encode", &padded).await.status, StatusCode::BAD_REQUEST);
    assert!(hand.is_idle());
    app.all_slots_free().await;
}

#[tokio::test]
async fn a_client_that_leaves_cancels_its_inputs() {
    let (app, mut hand) = App::by_hand(Setup::default());
    let asking = tokio::spawn({
        let app = app.clone();
        async move { app.post("/v1/encode", &json!({"input": [[6], [7]]})).await }
    });
    let submissions = [hand.encode_submission().await, hand.encode_submission().await];
    assert!(submissions.iter().all(|submission| submission.request.readout == Readout::EveryToken));
    submissions[0].events.send(EncodingEvent::Started).unwrap();
    asking.abort();
    for _ in 0..2 {
        assert!(matches!(hand.command().await, Command::Cancel { choice: None, .. }));
    }
    wait_for(|| (app.count(Outcome::Cancelled) == 1).then_some(())).await;
}

#[tokio::test]
async fn a_request_that_does_not_get_its_turn_in_time_is_answered_503() {
    let setup = Setup { queue_timeout: std::time::Duration::from_millis(30), ..Setup::default() };
    let (app, _hand) = App::by_hand(setup);
    let answer = app.post("/v1/embeddings", &json!({"input": "a"})).await;
    assert_eq!(
        (answer.status, &answer.json()["error"]["code"]),
        (StatusCode::SERVICE_UNAVAILABLE, &json!("queue_timeout"))
    );
}

#[tokio::test]
async fn failures_of_the_engine_reach_the_client() {
    let (app, mut hand) = App::by_hand(Setup::default());
    let asking = tokio::spawn({
        let app = app.clone();
        async move { app.post("/v1/embeddings", &json!({"input": [[6], [7]]})).await }
    });
    let submissions = [hand.encode_submission().await, hand.encode_submission().await];
    submissions[0].events.send(EncodingEvent::Started).unwrap();
    let failure = EncodingEvent::Failed { message: "no finite encoder states".to_owned(), kind: FailureKind::Lasting };
    submissions[1].events.send(failure).unwrap();
    submissions[0].events.send(EncodingEvent::Encoded { numbers: vec![1.0; WIDTH] }).unwrap();
    let answer = asking.await.unwrap();
    assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR, "{}", answer.text);
    assert!(answer.text.contains("no finite encoder states"), "{}", answer.text);
    assert_eq!(app.count(Outcome::Failed), 1);
}

#[tokio::test]
async fn requests_of_the_encoder_are_counted_with_their_tokens() {
    let app = app();
    answered(&app, "/v1/embeddings", json!({"input": [[6, 8], [9]]})).await;
    wait_for(|| (app.count(Outcome::Completed) == 1).then_some(())).await;
    assert_eq!((app.metrics().source_tokens.get(), app.metrics().source_length.get_sample_count()), (3, 2));
    assert_eq!(app.metrics().queue_seconds.get_sample_count(), 1);
}
