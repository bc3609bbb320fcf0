//! `POST /v1/score` and `/v1/rerank` over an engine in a test's hands.

use std::time::Duration;

use serde_json::{Value, json};
use server::engine::EncodeSubmission;
use server::request::EncodingEvent;
use tokio::task::JoinHandle;

use crate::answer::Answer;
use crate::app::{App, Setup};
use crate::scripted_engine::encode;

fn ask(app: &App, body: Value) -> JoinHandle<Answer> {
    let app = app.clone();
    tokio::spawn(async move { app.post("/v1/score", &body).await })
}

fn finish(submission: &EncodeSubmission) {
    submission.events.send(EncodingEvent::Encoded { numbers: encode(&submission.request) }).unwrap();
}

#[tokio::test]
async fn equal_texts_are_encoded_once() {
    let (app, mut hand) = App::by_hand(Setup::default());
    let free = app.engine().free_slots();
    let asking = ask(&app, json!({"text_1": [[6]], "text_2": [[6], [7], [6], [7]], "method": "embedding"}));
    let submissions = [hand.encode_submission().await, hand.encode_submission().await];
    assert_eq!([0, 1].map(|index| submissions[index].request.source.to_vec()), [[6], [7]]);
    assert!(hand.is_idle());
    assert_eq!(app.engine().free_slots(), free - 2, "places that are not needed are given back");
    submissions[0].events.send(EncodingEvent::Started).unwrap();
    submissions.iter().for_each(finish);
    let answer = asking.await.unwrap().json();
    let scores: Vec<_> = (0..4).map(|index| answer["data"][index]["score"].as_f64().unwrap()).collect();
    assert!((scores[0] - 1.0).abs() < 1e-9 && scores[1] < 1.0, "{scores:?}");
    assert_eq!((scores[2], scores[3]), (scores[0], scores[1]));
}

#[tokio::test]
async fn the_answer_begins_when_any_text_enters_the_encoder_and_is_counted_once() {
    let patience = Duration::from_millis(50);
    let (app, mut hand) = App::by_hand(Setup { queue_timeout: patience, ..Setup::default() });
    let asking = ask(&app, json!({"text_1": [[6]], "text_2": [[7], [8]], "method": "embedding"}));
    let mut submissions = Vec::new();
    for _ in 0..3 {
        submissions.push(hand.encode_submission().await);
    }
    submissions[2].events.send(EncodingEvent::Started).unwrap();
    tokio::time::sleep(3 * patience).await;
    submissions.iter().for_each(finish);
    let answer = asking.await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(app.metrics().queue_seconds.get_sample_count(), 1);
}

#[tokio::test]
async fn errors_name_the_fields_that_were_sent() {
    let (bare, _hand) = App::by_hand(Setup { tokenizer: None, ..Setup::default() });
    for (body, param) in [
        (json!({"data_1": "a", "data_2": [[5]]}), "data_1"),
        (json!({"data_1": [[5]], "items": "a"}), "items"),
        (json!({"queries": [[5]], "documents": ["a"]}), "documents"),
    ] {
        bare.post("/v1/score", &body).await.error(400, Some(param), None);
    }
    let (app, _hand) = App::by_hand(Setup { source_tokens: 1 << 14, target_tokens: 1 << 14, ..Setup::default() });
    for (name, other) in [("text_2", "text_1"), ("items", "queries"), ("data_2", "data_1")] {
        let uneven = json!({other: ["a", "b", "c"], name: ["a", "b"]});
        app.post("/v1/score", &uneven).await.error(400, Some(name), None);
        let many = json!({other: "a", name: vec!["b"; 32], "method": "embedding"});
        app.post("/v1/score", &many).await.error(400, Some(name), None);
        let long = json!({other: "a", name: [vec![7; 9000]]});
        let message = app.post("/v1/score", &long).await.error(400, Some(name), None);
        assert!(message.contains("scored tokens"), "{message}");
    }
}
