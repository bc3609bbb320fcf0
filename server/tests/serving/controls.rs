//! Controls over the whole server.

use serde_json::{Value, json};
use server::telemetry::Outcome;

use crate::app::{App, wait_until};

#[tokio::test]
async fn controls_that_leave_no_token_in_the_middle_are_answered_400_and_count_as_refused() {
    let app = App::start("");
    let allowed = json!({
        "prompt": [5, 6, 7], "max_tokens": 8, "allowed_token_ids": [20, 21, 22], "no_repeat_ngram_size": 1,
        "temperature": 0,
    });
    let answer = app.post(&allowed).await;
    let message = answer.error(400, None, None);
    assert!(message.contains("allow more tokens"), "{message}");
    wait_until(|| app.request_metrics().requests(Outcome::Refused) == 1).await;
    assert_eq!(app.request_metrics().requests(Outcome::Failed), 0);
    let mut fewer = allowed;
    fewer["max_tokens"] = json!(3);
    assert_eq!(app.post(&fewer).await.json()["usage"]["completion_tokens"], 3, "as many as are allowed");
}

#[tokio::test]
async fn a_bad_word_given_as_text_changes_the_answer() {
    let app = App::start("");
    let plain = json!({"prompt": "a tool to", "max_tokens": 12, "temperature": 0});
    let text = app.post(&plain).await.json()["choices"][0]["text"].as_str().unwrap().to_owned();
    let word = text.split_whitespace().next().unwrap().to_owned();
    let mut without = plain;
    without["bad_words"] = json!([word]);
    let other = app.post(&without).await.json()["choices"][0]["text"].as_str().unwrap().to_owned();
    assert!(!other.split_whitespace().any(|found| found == word), "{word:?} in {other:?}");
}

#[tokio::test]
async fn the_best_of_several_continuations_is_the_one_whose_tokens_are_the_most_probable() {
    let app = App::start("");
    let body = |n: u32, log_probs: bool| {
        let mut body = json!({"prompt": [5, 6, 7], "max_tokens": 6, "n": n, "best_of": 4, "seed": 7});
        body["logprobs"] = if log_probs { json!(0) } else { json!(null) };
        body
    };
    let all = app.post(&body(4, true)).await.json();
    let mean = |choice: &Value| {
        let log_probs: Vec<f64> = serde_json::from_value(choice["logprobs"]["token_logprobs"].clone()).unwrap();
        log_probs.iter().sum::<f64>() / log_probs.len() as f64
    };
    let choices = all["choices"].as_array().unwrap();
    let best = choices.iter().max_by(|a, b| mean(a).total_cmp(&mean(b))).unwrap();
    assert!(choices.iter().any(|choice| choice["text"] != best["text"]), "they differ: {all}");
    let one = app.post(&body(1, false)).await.json();
    assert_eq!(one["choices"].as_array().map(Vec::len), Some(1));
    assert_eq!(one["choices"][0]["text"], best["text"]);
    assert_eq!(one["usage"]["completion_tokens"], all["usage"]["completion_tokens"]);
}
