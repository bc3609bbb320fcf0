//! Bodies that are no request, too large, encoded or never whole.

use axum::body::Body;
use axum::http::{Request, header};
use serde_json::{Value, json};
use server::api::BodyLimits;
use server::telemetry::Outcome;

use crate::answer::Answer;
use crate::app::{App, Setup, chunked};

/// The answer to raw bytes.
async fn post(app: &App, body: impl Into<Body>) -> Answer {
    Answer::of(app.send(Request::post("/v1/completions").body(body.into()).unwrap()).await).await
}

#[tokio::test]
async fn bodies_that_are_no_json_object_are_refused() {
    let app = App::saying("x");
    let deep = format!("{{\"prompt\": {}", "[".repeat(100_000));
    for (body, words) in [
        (Vec::new(), "it is empty"),
        (b"{\"prompt\": \"a\"".to_vec(), "line 1 column 14"),
        (b"{\"prompt\": \"\xc3\x28\"}".to_vec(), "not valid UTF-8"),
        (b"[]".to_vec(), "must be a JSON object"),
        (deep.into_bytes(), "nested too deeply"),
        (b"--boundary".to_vec(), "not valid JSON"),
    ] {
        let message = post(&app, body).await.error(400, None, None);
        assert!(message.contains(words), "{message}");
    }
}

#[tokio::test]
async fn any_content_type_is_read_as_json() {
    let app = App::saying("x");
    for kind in ["text/plain", "application/x-www-form-urlencoded", ""] {
        let builder = Request::post("/v1/completions").header(header::CONTENT_TYPE, kind);
        let request = builder.body(Body::from(json!({"prompt": "p"}).to_string())).unwrap();
        assert_eq!(app.send(request).await.status(), 200);
    }
}

#[tokio::test]
async fn a_body_over_the_limit_is_413_whether_declared_or_not() {
    let body = BodyLimits { bytes: 1000, drain_bytes: 5000, ..Setup::default().body };
    let app =
        App::scripted(Setup { body, ..Setup::default() }, |request| crate::scripted_engine::generate(request, &[]));
    let padded = |length: usize| {
        let mut text = json!({"prompt": "p"}).to_string();
        text.push_str(&" ".repeat(length - text.len()));
        text
    };
    assert_eq!(post(&app, padded(1000)).await.status, 200);
    let declared =
        |text: String| Request::post("/v1/completions").header("content-length", text.len()).body(Body::from(text));
    for request in [
        declared(padded(1001)).unwrap(),
        declared(padded(9000)).unwrap(),
        Request::post("/v1/completions").body(chunked(b"{\"prompt\": ", 100)).unwrap(),
        Request::post("/v1/completions").body(chunked(b"          ", 1_000_000)).unwrap(),
        Request::post("/v1/completions")
            .header("content-length", "2000")
            .header("expect", "100-continue")
            .body(Body::empty())
            .unwrap(),
    ] {
        let answer = Answer::of(app.send(request).await).await;
        let message = answer.error(413, None, Some("request_too_large"));
        assert_eq!(message, "the request body is larger than 1000 bytes");
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_or_never_ends_is_answered() {
    let body = BodyLimits { timeout: std::time::Duration::from_millis(20), ..Setup::default().body };
    let app = App::by_hand(Setup { body, ..Setup::default() }).0;
    let broken = futures_util::stream::iter([Err::<&[u8], _>(std::io::Error::other("reset"))]);
    let message = post(&app, Body::from_stream(broken)).await.error(400, None, None);
    assert!(message.contains("broke off"), "{message}");
    let endless = futures_util::stream::pending::<Result<&[u8], std::io::Error>>();
    post(&app, Body::from_stream(endless)).await.error(408, None, Some("request_timeout"));
}

#[tokio::test]
async fn a_large_body_is_read_as_well_as_a_small_one() {
    let app = App::by_hand(Setup::default()).0;
    let many: Vec<Value> = vec![json!([1, 2, 3]); 20_000];
    let message = app.complete(json!({"prompt": many})).await.error(400, Some("prompt"), None);
    assert!(message.contains("20000 prompts"), "{message}");
}

#[tokio::test]
async fn a_body_with_a_content_encoding_is_told_which_are_taken() {
    let (app, hand) = App::by_hand(Setup::default());
    let ask = |encoding: &str| {
        let builder = Request::post("/v1/completions").header(header::CONTENT_ENCODING, encoding);
        app.send(builder.body(Body::from("\u{1f}\u{fffd} not JSON")).unwrap())
    };
    for encoding in ["br", "compress", "gzip, zstd", "x".repeat(5000).as_str()] {
        let answer = Answer::of(ask(encoding).await).await;
        let message = answer.error(415, None, Some("unsupported_content_encoding"));
        assert!(message.contains(&encoding[..encoding.len().min(64)]) && message.len() < 300, "{message}");
        assert!(message.contains("only one of 'gzip', 'zstd' and 'deflate' is taken"), "{message}");
        assert_eq!(answer.headers[header::ACCEPT_ENCODING], "gzip, zstd, deflate");
    }
    assert_eq!(app.count(Outcome::Refused), 4);
    let plain = Answer::of(ask("Identity").await).await;
    assert!(plain.error(400, None, None).contains("not valid JSON"));
    assert!(hand.is_idle());
}
