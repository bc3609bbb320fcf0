//! Bodies of requests: each route that takes one, over the demo.

use std::time::Duration;

use serde_json::Value;

use crate::running_server::ask;
use crate::seeds::seeds;
use crate::target::Target;

/// Bodies of requests. An input is a path, a space and a body; without a path it is asked of the first one.
pub const BODIES: Target =
    Target { name: "bodies", seeds: || seeds("bodies"), parse, patience: Duration::from_secs(20) };

/// Routes that take a body.
const PATHS: [&str; 13] = [
    "/v1/completions",
    "/v1/chat/completions",
    "/v1/responses",
    "/v1/completions/render",
    "/v1/chat/completions/render",
    "/v1/embeddings",
    "/v1/encode",
    "/v1/classify",
    "/pooling",
    "/v1/score",
    "/v1/rerank",
    "/tokenize",
    "/detokenize",
];

fn parse(input: &[u8]) {
    let (head, body) = answered(input);
    check_answer(&head, &body);
}

/// The head, in small letters, and the body of the answer to an input.
fn answered(input: &[u8]) -> (String, String) {
    let path_end = input.iter().position(|byte| *byte == b' ').unwrap_or(0);
    let path = PATHS.iter().find(|path| path.as_bytes() == &input[..path_end]);
    let body = if path.is_some() { &input[path_end + 1..] } else { input };
    let path = path.unwrap_or(&PATHS[0]);
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    let answer = ask(&[head.as_bytes(), body].concat());
    let text = String::from_utf8(answer).expect("an answer is UTF-8");
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head of an answer: {text}"));
    (head.to_ascii_lowercase(), body.to_owned())
}

/// An answer is JSON, an error in the form of errors, or a stream of events that ends.
fn check_answer(head: &str, body: &str) {
    let status = head.split(' ').nth(1).unwrap_or_else(|| panic!("no status: {head}"));
    assert!(!status.starts_with('5'), "{head}\n{body}");
    if head.contains("content-type: text/event-stream") {
        let ends = ["data: [DONE]\n\n", "event: response.completed\n", "event: response.incomplete\n"];
        let has_end = ends.iter().any(|end| body.contains(end));
        assert!(has_end, "the stream has no end: {body}");
        return;
    }
    let value: Value = serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {body}"));
    // A response that has not failed has an error as well, which is null.
    let is_error = value["error"]["message"].is_string() && value["error"]["type"].is_string();
    assert_eq!(is_error, !status.starts_with('2'), "{head}\n{body}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_accepted_so_that_their_mutations_get_behind_the_first_check() {
        for seed in seeds("bodies") {
            let (head, body) = answered(&seed);
            assert!(head.starts_with("http/1.1 200 "), "{}\n{body}", String::from_utf8_lossy(&seed));
        }
    }
}
