//! Large answers are written by the threads of the pool, so that no other connection waits for one of them.

use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use server::engine::Submission;
use server::job_pool::JobPool;
use server::request::{FailureKind, FinishReason, GenerationEvent};
use tokio::task::JoinHandle;

use crate::app::{App, PATIENCE, Setup, wait_for};
use crate::scripted_engine::{Hand, token};

/// Threads of the pool in these tests.
const THREADS: usize = 2;

/// A server whose limits take long instructions.
fn app() -> (App, Hand) {
    App::by_hand(Setup { source_tokens: 50_000, pages: 10_000, ..Setup::default() })
}

/// A response whose settings have six bytes of JSON for each of this many characters.
fn body(characters: usize, stream: bool) -> Value {
    json!({"input": "a", "instructions": "\u{1}".repeat(characters), "stream": stream})
}

/// Has every thread of the pool wait until the sender is dropped.
async fn occupied(pool: &JobPool) -> Vec<Sender<()>> {
    let (begun, waiting) = channel();
    let hold = |_| {
        let (sender, receiver) = channel::<()>();
        let (pool, begun) = (pool.clone(), begun.clone());
        tokio::spawn(async move {
            let job = move || {
                begun.send(()).unwrap();
                _ = receiver.recv();
            };
            pool.run(job).await
        });
        sender
    };
    let held: Vec<_> = (0..THREADS).map(hold).collect();
    for _ in 0..THREADS {
        wait_for(|| waiting.try_recv().ok()).await;
    }
    held
}

fn asked(app: &App, body: &Value) -> JoinHandle<axum::response::Response> {
    let (app, body) = (app.clone(), Body::from(body.to_string()));
    tokio::spawn(async move { app.send(Request::post("/v1/responses").body(body).unwrap()).await })
}

fn finish(submission: &Submission) {
    for event in [token(0, 300), GenerationEvent::Finished { choice: 0, reason: FinishReason::Stop }] {
        submission.events.send(event).unwrap();
    }
}

/// The next part of a body.
async fn part(body: &mut Body) -> String {
    let frame = tokio::time::timeout(PATIENCE, body.frame()).await.expect("a part").expect("more").unwrap();
    String::from_utf8(frame.into_data().unwrap().into()).unwrap()
}

/// Whether the next part of a body does not come for a while.
async fn waits(body: &mut Body) -> bool {
    tokio::time::timeout(Duration::from_millis(100), body.frame()).await.is_err()
}

#[tokio::test]
async fn a_whole_answer_that_repeats_large_instructions_waits_for_a_thread() {
    for (characters, is_large) in [(22_000, true), (2_000, false)] {
        let (app, mut hand) = app();
        let asking = asked(&app, &body(characters, false));
        let submission = hand.submission().await;
        let held = occupied(&app.api.parsers).await;
        submission.events.send(GenerationEvent::Started { cached_tokens: 0 }).unwrap();
        finish(&submission);
        if is_large {
            tokio::time::sleep(Duration::from_millis(100)).await;
            assert!(!asking.is_finished());
            drop(held);
        }
        assert_eq!(asking.await.unwrap().status(), 200);
    }
}

#[tokio::test]
async fn large_events_at_both_ends_of_a_stream_wait_for_a_thread() {
    let (app, mut hand) = app();
    let asking = asked(&app, &body(22_000, true));
    let submission = hand.submission().await;
    let held = occupied(&app.api.parsers).await;
    submission.events.send(GenerationEvent::Started { cached_tokens: 0 }).unwrap();
    let mut stream = asking.await.unwrap().into_body();
    assert!(waits(&mut stream).await);
    drop(held);
    assert!(part(&mut stream).await.starts_with("event: response.created\n"));
    let held = occupied(&app.api.parsers).await;
    submission.events.send(token(0, 300)).unwrap();
    assert!(part(&mut stream).await.starts_with("event: response.output_text.delta\n"), "small events do not wait");
    finish(&submission);
    part(&mut stream).await;
    assert!(waits(&mut stream).await);
    drop(held);
    let last = part(&mut stream).await;
    assert!(last.contains("event: response.completed\n") && last.len() > 100_000);
}

#[tokio::test]
async fn a_failure_of_a_stream_with_large_instructions_waits_for_a_thread() {
    let (app, mut hand) = app();
    let asking = asked(&app, &body(22_000, true));
    let submission = hand.submission().await;
    submission.events.send(GenerationEvent::Started { cached_tokens: 0 }).unwrap();
    let mut stream = asking.await.unwrap().into_body();
    part(&mut stream).await;
    let held = occupied(&app.api.parsers).await;
    submission
        .events
        .send(GenerationEvent::Failed { message: "broken".to_owned(), kind: FailureKind::Passing })
        .unwrap();
    assert!(waits(&mut stream).await);
    drop(held);
    assert!(part(&mut stream).await.starts_with("event: response.failed\n"));
}
