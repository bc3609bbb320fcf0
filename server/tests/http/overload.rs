//! Full queues, shutdown, readiness, and what is counted.

use axum::http::header;
use serde_json::json;
use server::engine::{Command, FinishReason, GenerationEvent};
use server::telemetry::Outcome;

use crate::app::{App, END, Setup, ids, token, wait_for};

fn small_queue() -> Setup {
    Setup { queued_requests: 2, ..Setup::default() }
}

#[tokio::test]
async fn a_full_queue_is_answered_at_once_with_429() {
    let (app, mut hand) = App::by_hand(small_queue());
    let waiting = [app.spawn(json!({"prompt": "p"})), app.spawn(json!({"prompt": "p"}))];
    let queued = [hand.submission().await, hand.submission().await];
    let answer = app.complete(json!({"prompt": "p"})).await;
    let message = answer.error(429, None, Some("overloaded"));
    assert!(message.contains("2 requests are queued"), "{message}");
    assert_eq!(answer.headers[header::RETRY_AFTER], "1");
    assert_eq!(app.count(Outcome::Overloaded), 1);
    // A bad request is told so even now.
    app.complete(json!({"prompt": "p", "n": 0})).await.error(400, Some("n"), None);
    // When one starts there is room again.
    let [first, second] = queued;
    drop(first.slot);
    let third = app.spawn(json!({"prompt": "p"}));
    let admitted = hand.submission().await;
    for events in [first.events, second.events, admitted.events] {
        events.send(GenerationEvent::Finished { choice: 0, reason: FinishReason::Stop }).unwrap();
    }
    for client in waiting.into_iter().chain([third]) {
        assert_eq!(client.await.unwrap().status, 200);
    }
}

#[tokio::test]
async fn a_list_of_prompts_gets_all_its_places_or_none() {
    let (app, mut hand) = App::by_hand(small_queue());
    let _client = app.spawn(json!({"prompt": "p"}));
    let _held = hand.submission().await;
    app.complete(json!({"prompt": ["p", "q"]})).await.error(429, None, Some("overloaded"));
    assert_eq!(app.api.engine.free_slots(), 1);
    let _other = app.spawn(json!({"prompt": "p"}));
    hand.submission().await;
}

#[tokio::test]
async fn the_place_is_taken_before_tokenising() {
    let (app, _hand) = App::by_hand(small_queue());
    // Both threads of the pool are busy, so that tokenising waits.
    let (release, blocked) = std::sync::mpsc::channel::<()>();
    let blocked = std::sync::Arc::new(std::sync::Mutex::new(blocked));
    for _ in 0..2 {
        let (pool, blocked) = (app.api.pool.clone(), std::sync::Arc::clone(&blocked));
        tokio::spawn(async move { pool.run(move || blocked.lock().unwrap().recv()).await });
    }
    tokio::task::yield_now().await;
    let first = app.spawn(json!({"prompt": "p"}));
    let second = app.spawn(json!({"prompt": "p"}));
    wait_for(|| (app.api.engine.free_slots() == 0).then_some(())).await;
    app.complete(json!({"prompt": "p"})).await.error(429, None, Some("overloaded"));
    // A client that goes away while it waits gives its place back.
    first.abort();
    second.abort();
    app.all_slots_free().await;
    wait_for(|| (app.count(Outcome::Cancelled) == 2).then_some(())).await;
    drop(release);
}

#[tokio::test]
async fn a_request_refused_after_its_place_was_taken_gives_it_back() {
    let (app, _hand) = App::by_hand(small_queue());
    app.complete(json!({"prompt": "", "add_special_tokens": false})).await.error(400, Some("prompt"), None);
    app.complete(json!({"prompt": vec![1; 300]})).await.error(400, Some("prompt"), Some("context_length_exceeded"));
    assert_eq!(app.api.engine.free_slots(), 2);
}

#[tokio::test]
async fn a_draining_server_is_alive_but_not_ready_and_takes_nothing() {
    let (app, mut hand) = App::by_hand(Setup::default());
    assert_eq!(app.get("/health").await.status, 200);
    assert_eq!(app.get("/ready").await.status, 200);
    let running = app.spawn(json!({"prompt": "p"}));
    let submission = hand.submission().await;
    app.api.engine.drain();
    assert!(matches!(hand.command().await, Command::Drain));
    assert_eq!(app.get("/health").await.status, 200);
    let answer = app.get("/ready").await;
    answer.error(503, None, Some("shutting_down"));
    let answer = app.complete(json!({"prompt": "p"})).await;
    answer.error(503, None, Some("shutting_down"));
    assert_eq!(answer.headers[header::RETRY_AFTER], "1");
    assert_eq!((app.count(Outcome::Unavailable), app.count(Outcome::Failed)), (1, 0));
    submission.events.send(token(0, ids("a")[0])).unwrap();
    submission.events.send(GenerationEvent::Finished { choice: 0, reason: FinishReason::Length }).unwrap();
    assert_eq!(running.await.unwrap().json()["choices"][0]["text"], "a");
}

#[tokio::test]
async fn an_engine_failure_is_500() {
    let failed = |_: &_| vec![GenerationEvent::Failed { message: "the step went wrong".to_owned() }];
    let app = App::scripted(Setup::default(), failed);
    let message = app.complete(json!({"prompt": "p"})).await.error(500, None, Some("internal_error"));
    assert_eq!(message, "the engine failed: the step went wrong");
    let gone = App::scripted(Setup::default(), |_| Vec::new());
    gone.complete(json!({"prompt": "p"})).await.error(500, None, Some("internal_error"));
    assert_eq!(gone.count(Outcome::Failed), 1);
}

#[tokio::test]
async fn metrics_tell_what_happened() {
    let app = App::scripted(Setup::default(), |_| {
        vec![
            GenerationEvent::Started { cached_tokens: 2 },
            token(0, ids("a")[0]),
            token(0, ids("b")[0]),
            token(0, END),
            GenerationEvent::Finished { choice: 0, reason: FinishReason::Stop },
        ]
    });
    app.completed(json!({"prompt": [5, 6]})).await;
    app.complete(json!({"prompt": []})).await.error(400, Some("prompt"), None);
    let answer = app.get("/metrics").await;
    assert_eq!(answer.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    for line in [
        "encdec_requests_total{outcome=\"completed\"} 1",
        "encdec_requests_total{outcome=\"refused\"} 1",
        "encdec_requests_total{outcome=\"cancelled\"} 0",
        "encdec_requests_total{outcome=\"overloaded\"} 0",
        "encdec_requests_total{outcome=\"unavailable\"} 0",
        "encdec_requests_total{outcome=\"failed\"} 0",
        "encdec_first_token_seconds_count 1",
        "encdec_token_gap_seconds_count 2",
        "encdec_request_seconds_count 1",
        "encdec_source_tokens_total 2",
        "encdec_cached_source_tokens_total 2",
        "encdec_generated_tokens_total 3",
        "encdec_open_requests 0",
    ] {
        assert!(answer.text.lines().any(|found| found == line), "{line} is not in\n{}", answer.text);
    }
}
