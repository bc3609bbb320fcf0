//! Requests that want their answers within a time of their own, and clients with quotas.

use axum::body::Body;
use axum::http::{Request, header};
use serde_json::{Value, json};
use server::overload::Quota;
use server::request::{FinishReason, GenerationEvent};
use server::telemetry::Outcome;

use crate::answer::{Answer, Events};
use crate::app::{App, Setup, ids};
use crate::scripted_engine::{generate, token};

const HEADER: &str = "x-request-timeout";
const ENVOY: &str = "x-envoy-expected-rq-timeout-ms";

fn with_header(path: &str, name: &str, value: &str, body: &Value) -> Request<Body> {
    Request::post(path).header(name, value).body(Body::from(body.to_string())).unwrap()
}

#[tokio::test]
async fn a_request_that_waits_in_the_queue_beyond_its_timeout_is_told_so_and_cancelled() {
    let (app, mut hand) = App::by_hand(Setup::default());
    for stream in [false, true] {
        let waiting = app.spawn(json!({"prompt": "p", "stream": stream, "timeout": 0.3}));
        let _queued = hand.submission().await;
        let answer = waiting.await.unwrap();
        let message = answer.error(504, None, Some("deadline_exceeded"));
        assert!(message.contains("timeout of 0.3 seconds"), "{message}");
        assert_eq!(answer.headers["x-should-retry"], "false");
        assert!(answer.headers.get(header::RETRY_AFTER).is_none());
        assert_eq!(hand.cancelled().await, None);
    }
    assert_eq!((app.count(Outcome::Late), app.count(Outcome::Unavailable), app.engine().free_slots()), (2, 0, 32));
}

#[tokio::test]
async fn an_answer_that_is_not_whole_in_time_is_cut_off_and_its_work_cancelled() {
    let (app, mut hand) = App::by_hand(Setup::default());
    for (name, value) in [(HEADER, "0.3"), (ENVOY, "300")] {
        for stream in [false, true] {
            let body = json!({"prompt": "p", "stream": stream});
            let asked = tokio::spawn({
                let (app, request) = (app.clone(), with_header("/v1/completions", name, value, &body));
                async move { Answer::of(app.send(request).await).await }
            });
            let running = hand.submission().await;
            running.events.send(GenerationEvent::Started { cached_tokens: 0 }).unwrap();
            running.events.send(token(0, ids("a")[0])).unwrap();
            let answer = asked.await.unwrap();
            if stream {
                let events = Events::of(&answer.text);
                assert_eq!(events.chunks.last().unwrap()["error"]["code"], "deadline_exceeded");
            } else {
                answer.error(504, None, Some("deadline_exceeded"));
            }
            assert_eq!(hand.cancelled().await, None);
        }
    }
}

#[tokio::test]
async fn the_sooner_of_header_and_field_counts_and_answers_in_time_are_whole() {
    let (app, mut hand) = App::by_hand(Setup::default());
    for (header, field) in [("0.2", 60.0), ("60", 0.2)] {
        let request = with_header("/v1/completions", HEADER, header, &json!({"prompt": "p", "timeout": field}));
        let asked = tokio::spawn({
            let app = app.clone();
            async move { Answer::of(app.send(request).await).await }
        });
        let _queued = hand.submission().await;
        asked.await.unwrap().error(504, None, Some("deadline_exceeded"));
        assert_eq!(hand.cancelled().await, None);
    }
    let app = App::saying("a");
    app.completed(json!({"prompt": "p", "timeout": 60})).await;
}

#[tokio::test]
async fn every_route_that_submits_requests_has_deadlines() {
    let (app, _hand) = App::by_hand(Setup::default());
    let messages = json!([{"role": "user", "content": "p"}]);
    for (path, mut body) in [
        ("/v1/chat/completions", json!({"messages": messages})),
        ("/v1/responses", json!({"input": "p"})),
        ("/v1/embeddings", json!({"input": "p"})),
        ("/v1/encode", json!({"input": "p"})),
        ("/v1/score", json!({"text_1": "p", "text_2": "q"})),
        ("/v1/rerank", json!({"query": "p", "documents": ["q"]})),
    ] {
        body["timeout"] = json!(0.2);
        app.post(path, &body).await.error(504, None, Some("deadline_exceeded"));
        body["timeout"] = json!(0);
        app.post(path, &body).await.error(400, Some("timeout"), None);
    }
}

#[tokio::test]
async fn a_timeout_that_is_none_is_refused_by_name() {
    let app = App::saying("a");
    let body = json!({"prompt": "p"});
    let answer = Answer::of(app.send(with_header("/v1/completions", HEADER, "soon", &body)).await).await;
    answer.error(400, Some(HEADER), None);
    let answer = Answer::of(app.send(with_header("/v1/completions", ENVOY, "soon", &body)).await).await;
    assert_eq!(answer.status, 200, "a client knows nothing of what a proxy adds");
    app.complete(json!({"prompt": "p", "timeout": "soon"})).await.error(400, Some("timeout"), None);
    app.complete(json!({"prompt": "p", "timeout": 86_401})).await.error(400, Some("timeout"), None);
}

#[tokio::test]
async fn a_client_that_has_used_up_its_quota_is_told_when_to_come_back() {
    let app = App::scripted(Setup { quota: Quota { tokens_per_minute: 60 }, ..Setup::default() }, |request| {
        generate(request, &ids("a"))
    });
    let body = json!({"prompt": [5, 6], "max_tokens": 100});
    app.completed(body.clone()).await;
    let answer = app.complete(body).await;
    let message = answer.error(429, None, Some("rate_limit_exceeded"));
    assert!(message.contains("60 tokens a minute"), "{message}");
    let [seconds, millis] = ["retry-after", "retry-after-ms"].map(|name| answer.headers[name].to_str().unwrap());
    let [seconds, millis]: [u64; 2] = [seconds, millis].map(|text| text.parse().unwrap());
    assert!((42..=44).contains(&seconds) && millis.div_ceil(1000) == seconds, "{seconds} {millis}");
    assert_eq!((app.count(Outcome::OverQuota), app.count(Outcome::Overloaded)), (1, 0));
}

#[tokio::test]
async fn a_quota_gets_back_what_requests_asked_for_whose_work_never_began() {
    let (app, mut hand) = App::by_hand(Setup { quota: Quota { tokens_per_minute: 60 }, ..Setup::default() });
    let body = json!({"prompt": "p", "max_tokens": 100});
    // It is known to be too long when it is tokens, which it becomes in the queue.
    let long = json!({"prompt": "a ".repeat(300), "max_tokens": 100});
    app.complete(long).await.error(400, Some("prompt"), Some("context_length_exceeded"));
    let late = app.spawn(json!({"prompt": "p", "max_tokens": 100, "timeout": 0.2}));
    let _queued = hand.submission().await;
    late.await.unwrap().error(504, None, Some("deadline_exceeded"));
    assert_eq!(hand.cancelled().await, None);
    let left = app.spawn(body.clone());
    let _queued = hand.submission().await;
    left.abort();
    assert_eq!(hand.cancelled().await, None);
    let begun = app.spawn(body.clone());
    let running = hand.submission_after_cancellations().await;
    running.events.send(GenerationEvent::Started { cached_tokens: 0 }).unwrap();
    running.events.send(token(0, ids("a")[0])).unwrap();
    running.events.send(GenerationEvent::Finished { choice: 0, reason: FinishReason::Stop }).unwrap();
    assert_eq!(begun.await.unwrap().status, 200);
    app.complete(body).await.error(429, None, Some("rate_limit_exceeded"));
}

#[tokio::test]
async fn texts_that_are_cut_are_charged_for_the_tokens_that_can_be_read_of_them() {
    let quota = Quota { tokens_per_minute: 600 };
    let text = "a ".repeat(2000);
    for (path, body) in [
        ("/v1/embeddings", json!({"input": text, "truncate_prompt_tokens": 8})),
        ("/v1/score", json!({"text_1": text, "text_2": "b", "truncate_prompt_tokens": 8})),
    ] {
        let app = App::scripted(Setup { quota, ..Setup::default() }, |request| generate(request, &ids("a")));
        // Each is charged for at most 256 tokens of its source; its bytes would be a thousand.
        for _ in 0..2 {
            let answer = app.post(path, &body).await;
            assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        }
    }
}
