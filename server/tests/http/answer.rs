//! An answer as its client gets it: status, headers, error object, events of a stream.

use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use http_body_util::BodyExt;
use serde_json::{Value, json};

use crate::app::PATIENCE;

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
}

impl Answer {
    pub async fn of(response: Response) -> Self {
        let (head, body) = response.into_parts();
        let bytes = tokio::time::timeout(PATIENCE, body.collect()).await.expect("the end").unwrap().to_bytes();
        Self { status: head.status, headers: head.headers, text: String::from_utf8(bytes.into()).unwrap() }
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// Checks the error object and gives its message.
    pub fn error(&self, status: u16, param: Option<&str>, code: Option<&str>) -> String {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        let json = self.json();
        let error = json["error"].as_object().expect("an error object");
        assert_eq!(error.keys().collect::<Vec<_>>(), ["message", "type", "param", "code"]);
        assert_eq!(error["param"], json!(param), "{}", self.text);
        assert_eq!(error["code"], json!(code), "{}", self.text);
        assert_eq!(self.headers["content-type"], "application/json");
        error["message"].as_str().unwrap().to_owned()
    }
}

/// The events of a stream.
#[derive(Debug)]
pub struct Events {
    pub chunks: Vec<Value>,
    /// Whether the last event was `[DONE]`.
    pub done: bool,
}

impl Events {
    pub fn of(text: &str) -> Self {
        let mut events = Self { chunks: Vec::new(), done: false };
        for event in text.split_terminator("\n\n") {
            assert!(!events.done, "something after [DONE]: {event}");
            let data = event.strip_prefix("data: ").unwrap_or_else(|| panic!("not an event: {event}"));
            if data == "[DONE]" {
                events.done = true;
            } else {
                events.chunks.push(serde_json::from_str(data).unwrap());
            }
        }
        events
    }

    /// The chunks of choice `index`.
    pub fn of_choice(&self, index: u64) -> Vec<&Value> {
        let choices = self.chunks.iter().filter_map(|chunk| chunk["choices"].get(0));
        choices.filter(|choice| choice["index"] == json!(index)).collect()
    }

    pub fn text_of(&self, index: u64) -> String {
        self.of_choice(index).iter().map(|choice| choice["text"].as_str().unwrap()).collect()
    }
}
