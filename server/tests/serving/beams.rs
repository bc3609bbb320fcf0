//! Beam search over the whole server: hypotheses, scores, streams, and what is refused.

use serde_json::{Value, json};

use crate::app::{App, wait_until};
use crate::demo::rows;

fn searched(prompt: &[u32]) -> Value {
    json!({"prompt": prompt, "max_tokens": 12, "use_beam_search": true, "n": 3, "best_of": 4, "return_token_ids": true})
}

fn choices(answer: &Value) -> Vec<(Vec<u64>, f64, f64)> {
    let number = |choice: &Value, key: &str| choice[key].as_f64().unwrap_or_else(|| panic!("{key}: {choice}"));
    let one = |choice: &Value| {
        let ids = serde_json::from_value(choice["token_ids"].clone()).unwrap();
        (ids, number(choice, "score"), number(choice, "cumulative_logprob"))
    };
    answer["choices"].as_array().unwrap().iter().map(one).collect()
}

#[tokio::test]
async fn hypotheses_come_best_first_with_their_scores_and_always_the_same() {
    let app = App::start("");
    let source = &rows()[3].input_ids;
    let answer = app.post(&searched(source)).await.json();
    let found = choices(&answer);
    assert_eq!(found.len(), 3);
    assert!(found.is_sorted_by(|better, worse| better.1 >= worse.1), "{found:?}");
    for (ids, score, sum) in &found {
        assert!((sum / ids.len() as f64 - score).abs() < 1e-4, "{found:?}");
    }
    let again = app.post(&searched(source)).await.json();
    assert_eq!(choices(&again), found);
    let mut wider = searched(source);
    wider["length_penalty"] = json!(0.0);
    wider["early_stopping"] = json!("never");
    for (_, score, sum) in choices(&app.post(&wider).await.json()) {
        assert!((score - sum).abs() < 1e-6);
    }
}

#[tokio::test]
async fn what_a_search_does_not_give_is_refused_by_name() {
    let app = App::start("");
    for (field, value, param) in [
        ("temperature", json!(0.7), "temperature"),
        ("top_k", json!(5), "top_k"),
        ("top_p", json!(0.5), "top_p"),
        ("logprobs", json!(1), "logprobs"),
        ("stop", json!("a"), "stop"),
        ("best_of", json!(1), "best_of"),
        ("best_of", json!(2), "best_of"),
        ("best_of", json!(17), "best_of"),
        ("length_penalty", json!(9), "length_penalty"),
    ] {
        let mut body = searched(&[5, 6]);
        body[field] = value;
        app.post(&body).await.error(400, Some(param), None);
    }
    let mut neutral = searched(&[5, 6]);
    neutral["temperature"] = json!(0);
    assert_eq!(choices(&app.post(&neutral).await.json()).len(), 3);
}

/// Texts of the choices of a stream, and the scores in their last pieces.
fn streamed(messages: &[Value], count: usize) -> Vec<(String, f64)> {
    let mut found = vec![(String::new(), f64::NAN); count];
    for choice in messages.iter().flat_map(|message| message["choices"].as_array().unwrap()) {
        let (text, score) = &mut found[choice["index"].as_u64().unwrap() as usize];
        text.push_str(choice["text"].as_str().unwrap());
        assert_eq!(choice["score"].is_number(), choice["finish_reason"].is_string(), "{choice}");
        *score = choice["score"].as_f64().unwrap_or(*score);
    }
    found
}

#[tokio::test]
async fn a_stream_gives_the_texts_and_scores_of_the_whole_answer() {
    let app = App::start("");
    for row in &rows()[..4] {
        let mut body = searched(&row.input_ids);
        let whole = app.post(&body).await.json();
        body["stream"] = json!(true);
        let messages = app.post(&body).await.messages();
        let expected: Vec<(String, f64)> = whole["choices"]
            .as_array()
            .unwrap()
            .iter()
            .map(|choice| (choice["text"].as_str().unwrap().to_owned(), choice["score"].as_f64().unwrap()))
            .collect();
        assert_eq!(streamed(&messages, 3), expected);
    }
}

#[tokio::test]
async fn a_search_that_is_wider_than_the_rows_of_the_server_is_refused() {
    let app = App::start("[limits]\nrunning_rows = 3\n");
    let message = app.post(&searched(&[5, 6])).await.error(400, Some("best_of"), None);
    assert!(message.contains("4 beams is wider than the 3 rows"), "{message}");
}

#[tokio::test]
async fn a_search_takes_as_many_places_in_the_queue_as_it_is_wide() {
    let limits = "[limits]\nrunning_rows = 16\nqueued_rows = 16\ntotal_choices = 16\nprompts = 16\n";
    let app = App::start(limits);
    let mut body = searched(&[5, 6]);
    (body["n"], body["best_of"], body["ignore_eos"]) = (json!(1), json!(16), json!(true));
    body["max_tokens"] = json!(200);
    let running = app.spawn(&body);
    wait_until(|| app.engine_metrics().running_rows.get() == 16 && app.engine().free_slots() == 16).await;
    let waiting = app.spawn(&body);
    wait_until(|| app.engine().free_slots() == 0).await;
    app.post(&body).await.error(429, None, Some("overloaded"));
    running.abort();
    waiting.abort();
    app.idle().await;
    assert_eq!(app.engine().free_slots(), 16);
    assert_eq!(choices(&app.post(&searched(&[5, 6])).await.json()).len(), 3, "the server goes on");
}
