//! Bodies of requests: each route that takes one, over the demo.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, Request, StatusCode, header};
use http_body_util::BodyExt;
use serde_json::Value;
use tower::ServiceExt;

use crate::running_server::server;
use crate::seeds::seeds;
use crate::target::Target;

/// Bodies of requests. An input is a path, a space and a body; without a path it is asked of the first one.
pub const BODIES: Target =
    Target { name: "bodies", seeds: || seeds("bodies"), parse, patience: Duration::from_secs(20) };

/// Routes that take a body.
const PATHS: [&str; 1] = ["/v1/completions"];

fn parse(input: &[u8]) {
    let path_end = input.iter().position(|byte| *byte == b' ').unwrap_or(0);
    let path = PATHS.iter().find(|path| path.as_bytes() == &input[..path_end]);
    let body = if path.is_some() { &input[path_end + 1..] } else { input };
    let path = path.unwrap_or(&PATHS[0]);
    let request = Request::post(*path)
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(body.to_vec()))
        .expect("the path is one");
    let server = server();
    let (status, kind, text) = server.runtime.block_on(async {
        let response = server.router.clone().oneshot(request).await.expect("the router answers");
        let (head, body) = response.into_parts();
        let bytes = body.collect().await.expect("an answer has an end").to_bytes();
        (head.status, head.headers.get(header::CONTENT_TYPE).cloned(), bytes)
    });
    // Too many requests at once is the only reason of the server's own to refuse one.
    assert!(!status.is_server_error(), "{status}: {}", String::from_utf8_lossy(&text));
    check_answer(status, kind.as_ref(), &text);
}

/// An answer is JSON, an error in the form of errors, or a stream of events that ends.
fn check_answer(status: StatusCode, kind: Option<&HeaderValue>, text: &[u8]) {
    let shown = String::from_utf8_lossy(text);
    if kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream")) {
        assert!(shown.ends_with("data: [DONE]\n\n"), "the stream has no end: {shown}");
        return;
    }
    let value: Value = serde_json::from_slice(text).unwrap_or_else(|error| panic!("{error}: {shown}"));
    let is_error = value["error"]["message"].is_string() && value["error"]["type"].is_string();
    assert_eq!(is_error, !status.is_success(), "{status}: {shown}");
}
