//! The access log: a line for each request, with its figures and without its words.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use server::api::AccessLog;
use server::client_connection::Peer;
use server::request::{FailureKind, GenerationEvent};
use tracing::Level;
use tracing::subscriber::DefaultGuard;

use crate::answer::Answer;
use crate::app::{App, END, Setup, completion_request, ids, tokenizer, wait_for};
use crate::scripted_engine::{generate, token};

/// Lines that this thread writes to the log.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Collects from now on until the guard is dropped.
    fn collect() -> (Self, DefaultGuard) {
        Self::collect_from(Level::INFO)
    }

    /// Collects what has this level or a more important one.
    fn collect_from(level: Level) -> (Self, DefaultGuard) {
        let log = Self::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt().json().flatten_event(true).with_max_level(level);
        let subscriber = subscriber.with_writer(move || writer.clone());
        (log, tracing::subscriber::set_default(subscriber.finish()))
    }

    fn lines(&self) -> Vec<Value> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.filter(|line| line["target"] == "server::access").collect()
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn setup(sample: u32) -> Setup {
    Setup { access_log: AccessLog::one_in(sample), ..Setup::default() }
}

fn logged(sample: u32) -> App {
    App::scripted(setup(sample), |request| generate(request, &ids("the answer")))
}

#[tokio::test]
async fn a_completion_leaves_a_line_with_its_figures_and_none_of_its_words() {
    let (log, _guard) = Log::collect();
    let app = logged(1);
    let body = json!({"prompt": ["a secret question", "secret"], "n": 2, "max_tokens": 2, "stop": "secret"});
    for stream in [false, true] {
        let mut body = body.clone();
        body["stream"] = json!(stream);
        let mut request = completion_request(&body);
        request.headers_mut().insert("x-request-id", "mine-1".parse().unwrap());
        request.extensions_mut().insert(Peer("192.0.2.7:4444".parse().unwrap()));
        let answer = Answer::of(app.send(request).await).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
    let lines = log.lines();
    assert_eq!(lines.len(), 2, "{lines:?}");
    for line in lines {
        assert_eq!((&line["id"], &line["peer"]), (&json!("mine-1"), &json!("192.0.2.7:4444")), "{line}");
        assert_eq!((&line["route"], &line["status"]), (&json!("POST /v1/completions"), &json!(200)));
        assert_eq!((&line["outcome"], &line["level"]), (&json!("completed"), &json!("INFO")));
        let source_tokens = ["a secret question", "secret"]
            .map(|text| tokenizer().encode_with_special_tokens(text).unwrap().len())
            .iter()
            .sum::<usize>();
        assert_eq!((&line["source_tokens"], &line["generated_tokens"]), (&json!(source_tokens), &json!(8)), "{line}");
        assert_eq!(line["finish"], "length:4");
        let milliseconds = |name: &str| line[name].as_f64().unwrap_or_else(|| panic!("{name}: {line}"));
        assert!(milliseconds("queue_ms") <= milliseconds("first_token_ms"));
        assert!(milliseconds("first_token_ms") <= milliseconds("total_ms"));
    }
    assert!(!log.text().contains("secret") && !log.text().contains("answer"), "{}", log.text());
}

#[tokio::test]
async fn what_is_refused_unknown_or_asked_of_other_routes_has_a_line_without_what_the_client_made_up() {
    let (log, _guard) = Log::collect();
    let app = logged(1);
    app.get("/version").await;
    app.get("/v1/models/some/secret").await;
    app.send(Request::builder().method("SECRET").uri("/secret?secret").body(Body::empty()).unwrap()).await;
    app.complete(json!({"prompt": "secret", "secret": 1})).await;
    let told = |line: &Value| {
        let text = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
        (text("route"), line["status"].as_u64().unwrap(), text("outcome"), text("code"))
    };
    let expected = [
        ("GET /version", 200, "completed", ""),
        ("GET /v1/models/{*name}", 404, "refused", "model_not_found"),
        ("other unknown", 404, "refused", "unknown_url"),
        ("POST /v1/completions", 400, "refused", "invalid_request"),
    ];
    let expected = expected.map(|(route, status, outcome, code)| (route.into(), status, outcome.into(), code.into()));
    assert_eq!(log.lines().iter().map(told).collect::<Vec<_>>(), expected);
    assert!(log.lines().iter().all(|line| line["id"].as_str().unwrap().starts_with("req-")));
    assert!(log.lines().iter().all(|line| line.get("source_tokens").is_none()), "{}", log.text());
    assert!(!log.text().to_lowercase().contains("secret"), "{}", log.text());
}

#[tokio::test]
async fn what_monitors_ask_every_few_seconds_has_lines_for_those_who_look_closely() {
    for (level, expected) in [(Level::INFO, 0), (Level::DEBUG, 5)] {
        let (log, _guard) = Log::collect_from(level);
        let app = logged(1);
        for path in ["/health", "/ready", "/ping", "/metrics", "/metrics/"] {
            assert_eq!(app.get(path).await.status, 200);
        }
        assert_eq!(log.lines().len(), expected, "{level}: {}", log.text());
    }
}

#[tokio::test]
async fn a_client_that_goes_away_leaves_a_line_in_every_phase() {
    let (log, _guard) = Log::collect();
    let (app, mut hand) = App::by_hand(setup(1));
    let whole = app.spawn(json!({"prompt": [5]}));
    let waiting = hand.submission().await;
    whole.abort();
    assert!(whole.await.unwrap_err().is_cancelled());
    assert_eq!(hand.cancelled().await, None);
    let (answer, running) = app.begun(&json!({"prompt": [5, 6], "stream": true}), &mut hand).await;
    running[0].events.send(token(0, ids("a")[0])).unwrap();
    let mut body = answer.into_body();
    body.frame().await.unwrap().unwrap();
    drop((body, waiting));
    wait_for(|| (log.lines().len() == 2).then_some(())).await;
    let lines = log.lines();
    assert!(lines.iter().all(|line| line["outcome"] == "cancelled"), "{lines:?}");
    assert_eq!((lines[0].get("status"), lines[0]["source_tokens"].as_u64()), (None, Some(1)), "no answer had begun");
    assert_eq!((lines[1]["status"].as_u64(), lines[1]["generated_tokens"].as_u64()), (Some(200), Some(1)));
}

#[tokio::test]
async fn of_what_went_well_one_in_so_many_has_a_line_and_of_errors_each() {
    let (log, _guard) = Log::collect();
    let app = logged(3);
    for _ in 0..6 {
        app.get("/version").await;
        app.get("/nowhere").await;
    }
    let routes: Vec<_> = log.lines().iter().map(|line| line["status"].as_u64().unwrap()).collect();
    assert_eq!(routes.iter().filter(|status| **status == 404).count(), 6);
    assert_eq!(routes.iter().filter(|status| **status == 200).count(), 2);
    let silent = App::scripted(Setup::default(), |request| generate(request, &[END]));
    silent.get("/nowhere").await;
    assert_eq!(log.lines().len(), 8, "without an access log there is no line");
}

#[tokio::test]
async fn a_stream_that_fails_in_the_middle_has_the_status_that_was_sent_and_the_error_that_came() {
    let (log, _guard) = Log::collect();
    let app = App::scripted(setup(1), |_| {
        let failed = GenerationEvent::Failed { message: "it went wrong".to_owned(), kind: FailureKind::Passing };
        vec![GenerationEvent::Started { cached_tokens: 0 }, token(0, ids("a")[0]), failed]
    });
    let text = app.complete(json!({"prompt": [5], "stream": true})).await.text;
    assert!(text.contains("internal_error"), "{text}");
    let line = &log.lines()[0];
    assert_eq!(
        (line["status"].as_u64(), &line["outcome"], &line["code"]),
        (Some(200), &json!("failed"), &json!("internal_error"))
    );
    assert!(app.metrics_text().contains("encdec_refusals_total{model=\"org/demo\",reason=\"internal_error\"} 1\n"));
    let text = log.text();
    let message = text.lines().find(|line| line.contains("a request failed")).expect("it is an error");
    assert!(message.contains("POST /v1/completions"), "{message}");
}

#[tokio::test]
async fn every_line_about_a_request_carries_its_name_whole_and_streamed() {
    let (log, _guard) = Log::collect();
    let fault = || GenerationEvent::Failed { message: "no memory".into(), kind: FailureKind::Lasting };
    let app =
        App::scripted(setup(1), move |_| vec![GenerationEvent::Started { cached_tokens: 0 }, token(0, 7), fault()]);
    for (name, stream) in [("mine-1", false), ("mine-2", true)] {
        let mut request = completion_request(&json!({"prompt": "a", "max_tokens": 4, "stream": stream}));
        request.headers_mut().insert("x-request-id", name.parse().unwrap());
        Answer::of(app.send(request).await).await;
        let lines = log.text();
        let lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let failed: Vec<_> = lines.filter(|line| line["message"] == "a request failed").collect();
        let last = failed.last().unwrap();
        assert_eq!((&last["span"]["name"], &last["span"]["id"]), (&json!("request"), &json!(name)), "{last}");
    }
    let named: Vec<_> = log.lines().iter().map(|line| (line["id"].clone(), line.get("span").is_some())).collect();
    assert_eq!(named, [(json!("mine-1"), false), (json!("mine-2"), false)], "lines of the access log say it once");
}
