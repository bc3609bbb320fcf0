//! Full queues, shutdown, readiness, and what is counted.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{Request, header};
use futures_util::StreamExt;
use serde_json::{Value, json};
use server::api::{BodyLimits, BodyPace};
use server::engine::Command;
use server::request::{FailureKind, FinishReason, GenerationEvent};
use server::telemetry::Outcome;

use crate::answer::Answer;
use crate::app::{App, END, Setup, chunked, completion_request, ids, wait_for};
use crate::scripted_engine::token;

fn small_queue() -> Setup {
    Setup { queued_rows: 2, ..Setup::default() }
}

#[tokio::test]
async fn a_full_queue_is_answered_at_once_with_429() {
    let (app, mut hand) = App::by_hand(small_queue());
    let waiting = [app.spawn(json!({"prompt": "p"})), app.spawn(json!({"prompt": "p"}))];
    let queued = [hand.submission().await, hand.submission().await];
    let answer = app.complete(json!({"prompt": "p"})).await;
    let message = answer.error(429, None, Some("overloaded"));
    assert!(message.contains("its queue of 2 sequences"), "{message}");
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
async fn a_full_queue_refuses_no_large_body_of_a_request_that_takes_no_place_in_it() {
    let (app, mut hand) = App::by_hand(small_queue());
    let _waiting = [app.spawn(json!({"prompt": "p"})), app.spawn(json!({"prompt": "p"}))];
    let _queued = [hand.submission().await, hand.submission().await];
    let messages = json!({"messages": [{"role": "user", "content": "a"}]});
    let prompt = json!({"prompt": "p"});
    for (path, body, status) in [
        ("/v1/completions/render", &prompt, 200),
        ("/v1/chat/completions/render", &messages, 200),
        ("/tokenize", &messages, 200),
        ("/tokenize", &prompt, 200),
        ("/detokenize", &json!({"tokens": [5]}), 200),
        ("/v1/completions", &prompt, 429),
        ("/v1/embeddings", &json!({"input": "p"}), 429),
    ] {
        for is_declared in [true, false] {
            let body = format!("{body}{}", " ".repeat(20_000));
            let declared = is_declared.then_some((header::CONTENT_LENGTH, body.len()));
            let request =
                declared.into_iter().fold(Request::post(path), |request, (name, value)| request.header(name, value));
            let request = request.body(Body::from(body)).unwrap();
            let answer = Answer::of(app.send(request).await).await;
            assert_eq!(answer.status.as_u16(), status, "{path}: {}", answer.text);
        }
    }
}

#[tokio::test]
async fn a_list_of_prompts_gets_all_its_places_or_none() {
    let (app, mut hand) = App::by_hand(small_queue());
    let _client = app.spawn(json!({"prompt": "p"}));
    let _held = hand.submission().await;
    app.complete(json!({"prompt": ["p", "q"]})).await.error(429, None, Some("overloaded"));
    assert_eq!(app.engine().free_slots(), 1);
    let _other = app.spawn(json!({"prompt": "p"}));
    hand.submission().await;
}

#[tokio::test]
async fn the_place_is_taken_before_tokenising() {
    let (app, _hand) = App::by_hand(small_queue());
    let _release = block_the_tokenizer(&app).await;
    let first = app.spawn(json!({"prompt": "p"}));
    let second = app.spawn(json!({"prompt": "p"}));
    wait_for(|| (app.engine().free_slots() == 0).then_some(())).await;
    app.complete(json!({"prompt": "p"})).await.error(429, None, Some("overloaded"));
    // A client that goes away while it waits gives its place back.
    first.abort();
    second.abort();
    app.all_slots_free().await;
    wait_for(|| (app.count(Outcome::Cancelled) == 2).then_some(())).await;
}

/// Makes both threads of the tokenizer pool wait for the end of the test.
async fn block_the_tokenizer(app: &App) -> std::sync::mpsc::Sender<()> {
    let (release, blocked) = std::sync::mpsc::channel::<()>();
    let blocked = std::sync::Arc::new(std::sync::Mutex::new(blocked));
    for _ in 0..2 {
        let (pool, blocked) = (app.model().tokenizing.clone(), std::sync::Arc::clone(&blocked));
        tokio::spawn(async move { pool.run(move || blocked.lock().unwrap().recv()).await });
    }
    tokio::task::yield_now().await;
    release
}

/// A body of about `bytes` that asks for what is refused as soon as it is parsed.
fn large_and_bad(bytes: usize) -> Value {
    json!({"prompt": "p", "n": 0, "user": "x".repeat(bytes)})
}

#[tokio::test]
async fn a_large_body_is_not_parsed_when_the_queue_has_no_place() {
    let (app, mut hand) = App::by_hand(small_queue());
    app.complete(large_and_bad(100_000)).await.error(400, Some("n"), None);
    let _clients = [app.spawn(json!({"prompt": "p"})), app.spawn(json!({"prompt": "p"}))];
    let _queued = [hand.submission().await, hand.submission().await];
    app.complete(large_and_bad(100_000)).await.error(429, None, Some("overloaded"));
    app.complete(large_and_bad(1000)).await.error(400, Some("n"), None);
    app.engine().drain();
    app.complete(large_and_bad(100_000)).await.error(503, None, Some("shutting_down"));
}

#[tokio::test]
async fn large_bodies_that_are_still_arriving_leave_no_room_for_more_of_them() {
    let (app, _hand) = App::by_hand(Setup { unparsed_body_bytes: 100_000, ..Setup::default() });
    let first = Ok::<_, std::io::Error>(Bytes::from(vec![b' '; 90_000]));
    let slow = futures_util::stream::iter([first]).chain(futures_util::stream::pending());
    let request = Request::post("/v1/completions").body(Body::from_stream(slow)).unwrap();
    let arriving = tokio::spawn({
        let app = app.clone();
        async move { app.send(request).await }
    });
    wait_for(|| (app.api.body_budget.free_bytes() == 10_000).then_some(())).await;
    let declared = completion_request(&large_and_bad(20_000));
    let chunked = Request::post("/v1/completions").body(chunked(b"          ", 2000)).unwrap();
    for request in [declared, chunked] {
        let answer = Answer::of(app.send(request).await).await;
        let message = answer.error(429, None, Some("overloaded"));
        assert!(message.contains("of 100000 bytes are being received"), "{message}");
        assert_eq!(answer.headers[header::RETRY_AFTER], "1");
    }
    // Small ones need no room, and a client that goes away gives its own back.
    app.complete(large_and_bad(1000)).await.error(400, Some("n"), None);
    arriving.abort();
    wait_for(|| (app.api.body_budget.free_bytes() == 100_000).then_some(())).await;
    app.complete(large_and_bad(20_000)).await.error(400, Some("n"), None);
    assert_eq!(app.api.body_budget.free_bytes(), 100_000);
}

#[tokio::test]
async fn a_large_body_that_comes_too_slowly_makes_room_for_others() {
    let pace = BodyPace { least_bytes_per_s: 1 << 20, stretch: Duration::from_millis(50) };
    let body = BodyLimits { pace, ..Setup::default().body };
    let (app, _hand) = App::by_hand(Setup { body, ..Setup::default() });
    let first = Ok::<_, std::io::Error>(Bytes::from(vec![b' '; 90_000]));
    let slow = futures_util::stream::iter([first]).chain(futures_util::stream::pending());
    let request = Request::post("/v1/completions").body(Body::from_stream(slow)).unwrap();
    let answer = Answer::of(app.send(request).await).await;
    let message = answer.error(408, None, Some("request_timeout"));
    assert!(message.contains("1048576 bytes a second"), "{message}");
    assert_eq!(app.api.body_budget.free_bytes(), Setup::default().unparsed_body_bytes);
}

#[tokio::test]
async fn a_large_body_that_begins_late_and_then_comes_fast_is_taken() {
    let pace = BodyPace { least_bytes_per_s: 1 << 20, stretch: Duration::from_millis(50) };
    let body = BodyLimits { pace, ..Setup::default().body };
    let (app, _hand) = App::by_hand(Setup { body, ..Setup::default() });
    let whole = Bytes::from(large_and_bad(90_000).to_string());
    let late = futures_util::stream::once(async move {
        tokio::time::sleep(Duration::from_millis(120)).await;
        Ok::<_, std::io::Error>(whole)
    });
    let request = Request::post("/v1/completions").body(Body::from_stream(late)).unwrap();
    Answer::of(app.send(request).await).await.error(400, Some("n"), None);
}

#[tokio::test]
async fn large_bodies_do_not_wait_for_the_tokenizer_to_be_parsed() {
    let (app, _hand) = App::by_hand(Setup::default());
    let _release = block_the_tokenizer(&app).await;
    app.complete(large_and_bad(100_000)).await.error(400, Some("n"), None);
}

#[tokio::test]
async fn a_request_refused_after_its_place_was_taken_gives_it_back() {
    let (app, _hand) = App::by_hand(small_queue());
    app.complete(json!({"prompt": "", "add_special_tokens": false})).await.error(400, Some("prompt"), None);
    app.complete(json!({"prompt": vec![1; 300]})).await.error(400, Some("prompt"), Some("context_length_exceeded"));
    assert_eq!(app.engine().free_slots(), 2);
}

#[tokio::test]
async fn a_draining_server_is_alive_but_not_ready_and_takes_nothing() {
    let (app, mut hand) = App::by_hand(Setup::default());
    assert_eq!(app.get("/health").await.status, 200);
    assert_eq!(app.get("/ready").await.status, 200);
    let running = app.spawn(json!({"prompt": "p"}));
    let submission = hand.submission().await;
    app.engine().drain();
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
async fn a_server_whose_engine_gives_no_sign_of_life_is_not_ready() {
    // The test is the engine, and gives none.
    let stall_timeout = Duration::from_millis(100);
    let (app, _hand) = App::by_hand(Setup { stall_timeout, ..Setup::default() });
    assert_eq!(app.get("/ready").await.status, 200);
    tokio::time::sleep(2 * stall_timeout).await;
    app.get("/ready").await.error(503, None, Some("stalled"));
    assert_eq!(app.get("/health").await.status, 200);
}

#[tokio::test]
async fn a_server_that_is_going_to_end_is_not_ready_and_still_answers() {
    let app = App::saying("a");
    app.api.entrance.liveness.leave();
    app.get("/ready").await.error(503, None, Some("shutting_down"));
    app.completed(json!({"prompt": "p"})).await;
}

#[tokio::test]
async fn a_request_that_does_not_get_its_turn_in_time_is_told_so_and_cancelled() {
    // Longer than tokenising takes on a busy machine, which would be refused as well.
    let (app, mut hand) = App::by_hand(Setup { queue_timeout: Duration::from_millis(200), ..Setup::default() });
    for stream in [false, true] {
        let waiting = app.spawn(json!({"prompt": "p", "stream": stream}));
        let _queued = hand.submission().await;
        let answer = waiting.await.unwrap();
        answer.error(503, None, Some("queue_timeout"));
        assert_eq!(answer.headers[header::RETRY_AFTER], "1");
        assert_eq!(hand.cancelled().await, None);
    }
    assert_eq!(app.count(Outcome::Unavailable), 2);
}

#[tokio::test]
async fn answers_for_which_there_may_be_no_memory_are_refused_and_those_under_way_are_whole() {
    let (app, mut hand) = App::by_hand(Setup { answer_bytes: 64 << 10, ..Setup::default() });
    let body = json!({"prompt": "p", "max_tokens": 16, "logprobs": 19});
    let first = app.spawn(body.clone());
    let running = hand.submission().await;
    app.complete(body.clone()).await.error(429, None, Some("overloaded"));
    running.events.send(GenerationEvent::Finished { choice: 0, reason: FinishReason::Length }).unwrap();
    assert_eq!(first.await.unwrap().status, 200);
    assert_eq!(app.api.answer_budget.used_bytes(), 0, "given back when the answer was taken");
    assert_eq!(hand.cancelled().await, None);
    let _second = app.spawn(body);
    hand.submission().await;
}

#[tokio::test]
async fn an_engine_failure_is_500() {
    for (kind, should_retry) in [(FailureKind::Passing, None), (FailureKind::Lasting, Some("false"))] {
        let failed = move |_: &_| vec![GenerationEvent::Failed { message: "it went wrong".to_owned(), kind }];
        let answer = App::scripted(Setup::default(), failed).complete(json!({"prompt": "p"})).await;
        assert_eq!(answer.error(500, None, Some("internal_error")), "the engine failed: it went wrong");
        assert_eq!(answer.headers.get("x-should-retry").map(|value| value.to_str().unwrap()), should_retry);
    }
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
    app.get("/nowhere").await.error(404, None, Some("unknown_url"));
    let answer = app.get("/metrics").await;
    assert_eq!(answer.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    for line in [
        "encdec_requests_total{model=\"org/demo\",outcome=\"completed\"} 1",
        "encdec_requests_total{model=\"org/demo\",outcome=\"refused\"} 1",
        "encdec_requests_total{model=\"org/demo\",outcome=\"cancelled\"} 0",
        "encdec_requests_total{model=\"org/demo\",outcome=\"overloaded\"} 0",
        "encdec_requests_total{model=\"org/demo\",outcome=\"unavailable\"} 0",
        "encdec_requests_total{model=\"org/demo\",outcome=\"failed\"} 0",
        "encdec_refusals_total{model=\"org/demo\",reason=\"invalid_request\"} 1",
        "encdec_refusals_total{model=\"org/demo\",reason=\"unknown_url\"} 1",
        "encdec_finished_choices_total{model=\"org/demo\",reason=\"stop\"} 1",
        "encdec_finished_choices_total{model=\"org/demo\",reason=\"length\"} 0",
        "encdec_source_length_tokens_sum{model=\"org/demo\"} 2",
        "encdec_target_length_tokens_sum{model=\"org/demo\"} 3",
        "encdec_queue_seconds_count{model=\"org/demo\"} 1",
        "encdec_first_token_seconds_count{model=\"org/demo\"} 1",
        "encdec_token_gap_seconds_count{model=\"org/demo\"} 2",
        "encdec_request_seconds_count{model=\"org/demo\"} 1",
        "encdec_source_tokens_total{model=\"org/demo\"} 2",
        "encdec_cached_source_tokens_total{model=\"org/demo\"} 2",
        "encdec_generated_tokens_total{model=\"org/demo\"} 3",
        "encdec_open_requests{model=\"org/demo\"} 0",
    ] {
        assert!(answer.text.lines().any(|found| found == line), "{line} is not in\n{}", answer.text);
    }
}
