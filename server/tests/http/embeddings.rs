//! `POST /v1/embeddings`: forms of the input, of the vectors and of the answer.

use axum::http::StatusCode;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::app::{App, MODEL, Setup, ids, tokenizer};
use crate::scripted_engine::{generate, state};

pub fn app() -> App {
    App::scripted(Setup::default(), |request| generate(request, &[5]))
}

/// The vectors of an answer.
async fn vectors(app: &App, body: Value) -> Vec<Vec<f32>> {
    let answer = app.post("/v1/embeddings", &body).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    let numbers = |value: &Value| value["embedding"].as_array().unwrap().iter().map(number).collect();
    answer.json()["data"].as_array().unwrap().iter().map(numbers).collect()
}

fn number(value: &Value) -> f32 {
    value.as_f64().unwrap() as f32
}

fn unit(vector: &[f32]) -> Vec<f32> {
    let length = vector.iter().map(|number| number * number).sum::<f32>().sqrt();
    vector.iter().map(|number| number / length).collect()
}

fn near(own: &[f32], wanted: &[f32]) {
    assert_eq!(own.len(), wanted.len());
    assert!(own.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-6), "{own:?} {wanted:?}");
}

#[tokio::test]
async fn each_input_gets_the_mean_of_its_states_at_length_one() {
    let answer = app().post("/v1/embeddings", &json!({"input": [[6, 8], [10]], "model": MODEL, "user": "me"})).await;
    assert_eq!((answer.status, answer.headers["content-type"].to_str().unwrap()), (StatusCode::OK, "application/json"));
    let body = answer.json();
    assert!(body["id"].as_str().unwrap().starts_with("embd-"), "{body}");
    assert_eq!((&body["object"], &body["model"]), (&json!("list"), &json!(MODEL)));
    assert_eq!(body["usage"], json!({"prompt_tokens": 3, "total_tokens": 3}));
    let data = body["data"].as_array().unwrap();
    assert_eq!(data.len(), 2);
    for ((embedding, index), id) in data.iter().zip(0..).zip([7, 10]) {
        assert_eq!((&embedding["object"], &embedding["index"]), (&json!("embedding"), &json!(index)));
        let numbers: Vec<f32> = embedding["embedding"].as_array().unwrap().iter().map(number).collect();
        near(&numbers, &unit(&state(id)));
    }
}

#[tokio::test]
async fn all_four_forms_of_input_are_read_and_texts_are_framed_unless_asked_not_to() {
    let app = app();
    let last = |text: &str| tokenizer().encode_with_special_tokens(text).unwrap().last().copied().unwrap();
    let body = |input: Value| json!({"input": input, "pooling": "last", "normalize": false});
    assert_eq!(vectors(&app, body(json!("a library"))).await, [state(last("a library"))]);
    assert_eq!(vectors(&app, body(json!(["a", "b"]))).await, [state(last("a")), state(last("b"))]);
    assert_eq!(vectors(&app, body(json!([6, 8]))).await, [state(8)]);
    assert_eq!(vectors(&app, body(json!([[6, 8], [9]]))).await, [state(8), state(9)]);
    for (framed, tokens) in [(true, 1 + ids("a").len()), (false, ids("a").len())] {
        let answer = app.post("/v1/embeddings", &json!({"input": "a", "add_special_tokens": framed})).await;
        assert_eq!(answer.json()["usage"]["prompt_tokens"], tokens, "{framed}");
    }
}

#[tokio::test]
async fn base64_holds_the_same_numbers_as_little_endian_float32() {
    let app = app();
    let body = json!({"input": [6, 9], "encoding_format": "base64"});
    let answer = app.post("/v1/embeddings", &body).await.json();
    let bytes = STANDARD.decode(answer["data"][0]["embedding"].as_str().unwrap()).unwrap();
    let numbers: Vec<f32> = bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    assert_eq!(numbers, vectors(&app, json!({"input": [6, 9], "encoding_format": "float"})).await[0]);
}

#[tokio::test]
async fn dimensions_keep_the_first_numbers_and_length_one_is_theirs() {
    let app = app();
    near(&vectors(&app, json!({"input": [6], "dimensions": 2})).await[0], &unit(&state(6)[..2]));
    assert_eq!(vectors(&app, json!({"input": [6], "dimensions": 2, "normalize": false})).await[0], state(6)[..2]);
}

#[tokio::test]
async fn misshapen_and_unsupported_fields_are_refused_by_name() {
    let app = app();
    for (body, param) in [
        (json!({}), "input"),
        (json!({"input": []}), "input"),
        (json!({"input": ["a", 1]}), "input"),
        (json!({"input": [1, 5000]}), "input"),
        (json!({"input": vec![7; 300]}), "input"),
        (json!({"input": vec!["a"; 17]}), "input"),
        (json!({"input": "", "add_special_tokens": false}), "input"),
        (json!({"input": "a", "dimensions": 5}), "dimensions"),
        (json!({"input": "a", "dimensions": 0}), "dimensions"),
        (json!({"input": "a", "encoding_format": "int8"}), "encoding_format"),
        (json!({"input": "a", "encoding_format": 1}), "encoding_format"),
        (json!({"input": "a", "pooling": "cls"}), "pooling"),
        (json!({"input": "a", "normalize": "yes"}), "normalize"),
        (json!({"input": "a", "truncate_prompt_tokens": 0}), "truncate_prompt_tokens"),
        (json!({"input": "a", "max_tokens": 7}), "max_tokens"),
    ] {
        let answer = app.post("/v1/embeddings", &body).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{body}: {}", answer.text);
        assert_eq!(answer.json()["error"]["param"], param, "{body}: {}", answer.text);
    }
    let answer = app.post("/v1/embeddings", &json!({"input": "a", "model": "another"})).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND, "{}", answer.text);
}

#[tokio::test]
async fn a_model_without_a_tokenizer_takes_ids_only() {
    let setup = Setup { tokenizer: None, ..Setup::default() };
    let app = App::scripted(setup, |request| generate(request, &[5]));
    assert_eq!(vectors(&app, json!({"input": [6], "normalize": false})).await, [state(6)]);
    let answer = app.post("/v1/embeddings", &json!({"input": "a"})).await;
    assert_eq!((answer.status, &answer.json()["error"]["param"]), (StatusCode::BAD_REQUEST, &json!("input")));
}
