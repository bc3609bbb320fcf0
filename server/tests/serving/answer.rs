//! An answer to a completion request, the same whether it came whole or as a stream.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use http_body_util::BodyExt;
use serde_json::{Value, json};

/// Nothing here takes so long unless it hangs.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Everything that came back.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
}

/// A choice, put together from all its pieces.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Choice {
    pub text: String,
    pub prompt_ids: Vec<u64>,
    pub ids: Vec<u64>,
    pub log_probs: Vec<f64>,
    /// Names, alternatives and offsets, one entry a token.
    pub tokens: Vec<(Value, Value, Value)>,
    pub finish: Option<String>,
}

impl Answer {
    pub async fn read(response: Response) -> Self {
        let (head, body) = response.into_parts();
        let bytes = tokio::time::timeout(PATIENCE, body.collect()).await.expect("the end").unwrap().to_bytes();
        Self { status: head.status, headers: head.headers, text: String::from_utf8(bytes.into()).unwrap() }
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// The messages of a success: one, or the chunks of a stream that came to its end.
    pub fn messages(&self) -> Vec<Value> {
        assert_eq!(self.status, StatusCode::OK, "{}", self.text);
        if self.headers["content-type"] == "application/json" {
            return vec![self.json()];
        }
        let events = self.text.strip_suffix("data: [DONE]\n\n").expect("the stream ends as it should");
        let data = |event: &str| serde_json::from_str(event.strip_prefix("data: ").unwrap()).unwrap();
        // A busy machine may be silent for so long that a comment keeps the connection.
        events.split_terminator("\n\n").filter(|event| !event.starts_with(": ")).map(data).collect()
    }

    /// All choices, in order.
    pub fn choices(&self) -> Vec<Choice> {
        let mut choices = Vec::new();
        for message in self.messages() {
            for piece in message["choices"].as_array().unwrap() {
                let index = piece["index"].as_u64().unwrap() as usize;
                choices.resize(choices.len().max(index + 1), Choice::default());
                choices[index].add(piece);
            }
        }
        choices
    }

    /// The only choice.
    pub fn choice(&self) -> Choice {
        let mut choices = self.choices();
        assert_eq!(choices.len(), 1);
        choices.remove(0)
    }

    pub fn usage(&self) -> Value {
        self.messages().pop().unwrap()["usage"].clone()
    }

    pub fn cached_tokens(&self) -> u64 {
        self.usage()["prompt_tokens_details"]["cached_tokens"].as_u64().unwrap()
    }

    /// Checks the error object and gives its message.
    pub fn error(&self, status: u16, param: Option<&str>, code: Option<&str>) -> String {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        let error = &self.json()["error"];
        assert_eq!((&error["param"], &error["code"]), (&json!(param), &json!(code)), "{}", self.text);
        error["message"].as_str().unwrap().to_owned()
    }
}

impl Choice {
    fn add(&mut self, piece: &Value) {
        assert_eq!(self.finish, None, "nothing follows the last piece");
        self.text.push_str(piece["text"].as_str().unwrap());
        let ids = |name: &str| piece[name].as_array().into_iter().flatten().map(|id| id.as_u64().unwrap());
        self.prompt_ids.extend(ids("prompt_token_ids"));
        self.ids.extend(ids("token_ids"));
        let log_probs = |name: &str| piece["logprobs"][name].as_array().cloned().unwrap_or_default();
        self.log_probs.extend(log_probs("token_logprobs").iter().map(|number| number.as_f64().unwrap()));
        let (names, tops, offsets) = (log_probs("tokens"), log_probs("top_logprobs"), log_probs("text_offset"));
        let tokens = names.into_iter().zip(tops).zip(offsets);
        self.tokens.extend(tokens.map(|((name, top), offset)| (name, top, offset)));
        self.finish = piece["finish_reason"].as_str().map(str::to_owned);
    }
}

/// The next event of a stream.
pub async fn next_event(body: &mut Body) -> String {
    next_event_if_any(body).await.expect("not the end")
}

/// The next event of a stream, unless it is over.
pub async fn next_event_if_any(body: &mut Body) -> Option<String> {
    let frame = tokio::time::timeout(PATIENCE, body.frame()).await.expect("an event or the end")?.unwrap();
    Some(String::from_utf8(frame.into_data().unwrap().into()).unwrap())
}
