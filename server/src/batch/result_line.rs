//! A line of a file of results, in OpenAI's format: written, and read again for what it finishes.

use axum::http::StatusCode;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

/// Beginning of every line, up to the digits of the id.
const BEGINNING: &[u8] = b"{\"id\":\"batch_req_";
/// Hexadecimal digits of a result's id: more than enough to tell those of a file apart.
const ID_DIGITS: usize = 24;

/// The result of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchResult {
    /// The line, counted from 1.
    pub line: u64,
    /// Name of the request; absent where the line gives none, or one that an earlier line has.
    pub custom_id: Option<String>,
    /// The answer, or the reason why there is none.
    pub outcome: Outcome,
}

/// The answer to a line, or the reason why there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// A route has answered.
    Answered {
        /// The status.
        status: StatusCode,
        /// Name of the request in log and metrics.
        request_id: String,
        /// The answer's body.
        body: Vec<u8>,
    },
    /// No route was asked.
    Refused {
        /// `code` of the error.
        code: &'static str,
        /// The reason.
        message: String,
    },
}

#[derive(Serialize)]
struct Written<'a> {
    id: String,
    custom_id: Option<&'a str>,
    response: Option<Response<'a>>,
    error: Option<Error<'a>>,
}

#[derive(Serialize)]
struct Response<'a> {
    status_code: u16,
    request_id: &'a str,
    body: Body<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Body<'a> {
    Json(&'a RawValue),
    Text(std::borrow::Cow<'a, str>),
}

#[derive(Serialize)]
struct Error<'a> {
    code: &'a str,
    message: &'a str,
    line: u64,
}

/// A line of results, as far as it tells which request is finished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FinishedLine {
    /// Name of the request, or the number of a line that has none.
    pub request: RequestRef,
    /// Whether it is an answer of success.
    pub succeeded: bool,
}

/// Which request a result is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestRef {
    /// The request of this name.
    Named(String),
    /// The line of this number, which has no name of its own.
    Line(u64),
}

#[derive(Deserialize)]
struct Read {
    custom_id: Option<String>,
    response: Option<ReadResponse>,
    error: Option<ReadError>,
}

#[derive(Deserialize)]
struct ReadResponse {
    status_code: u16,
    #[serde(rename = "body")]
    _body: IgnoredAny,
}

#[derive(Deserialize)]
struct ReadError {
    line: u64,
}

impl BatchResult {
    /// Whether a route has answered with success.
    pub fn succeeded(&self) -> bool {
        matches!(self.outcome, Outcome::Answered { status, .. } if status.is_success())
    }

    /// The line, with its end.
    pub fn write(&self) -> Vec<u8> {
        let (response, error) = match &self.outcome {
            Outcome::Answered { status, request_id, body } => {
                (Some(Response { status_code: status.as_u16(), request_id, body: body_of(body) }), None)
            }
            Outcome::Refused { code, message } => (None, Some(Error { code, message, line: self.line })),
        };
        let written = Written { id: self.id(), custom_id: self.custom_id.as_deref(), response, error };
        let mut bytes = serde_json::to_vec(&written).expect("strings and JSON serialise");
        // Within JSON, only blanks between values may be ends of lines.
        bytes.iter_mut().filter(|byte| matches!(byte, b'\n' | b'\r')).for_each(|byte| *byte = b' ');
        bytes.push(b'\n');
        bytes
    }

    /// An id that a repeated run gives again.
    fn id(&self) -> String {
        let digest = Sha256::new().chain_update(self.line.to_le_bytes());
        let digest = digest.chain_update(self.custom_id.as_deref().unwrap_or_default()).finalize();
        let digits: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("batch_req_{}", &digits[..ID_DIGITS])
    }
}

fn body_of(bytes: &[u8]) -> Body<'_> {
    match serde_json::from_slice::<&RawValue>(bytes) {
        Ok(json) => Body::Json(json),
        Err(_) => Body::Text(String::from_utf8_lossy(bytes)),
    }
}

/// Whether a line of results is an answer of success.
///
/// # Errors
/// The parser's message about a line that is no result.
pub fn is_success(line: &[u8]) -> Result<bool, serde_json::Error> {
    FinishedLine::read(line).map(|finished| finished.succeeded)
}

/// Whether a line, or as much of it as there is, begins as a result does.
pub fn is_beginning(line: &[u8]) -> bool {
    let length = line.len().min(BEGINNING.len());
    line[..length] == BEGINNING[..length]
}

impl FinishedLine {
    /// Reads a line of results.
    ///
    /// # Errors
    /// The parser's message about a line that is no result.
    pub fn read(line: &[u8]) -> Result<Self, serde_json::Error> {
        let Read { custom_id, response, error } = serde_json::from_slice(line)?;
        let succeeded = response.as_ref().is_some_and(|response| (200..300).contains(&response.status_code));
        let request = match (custom_id, error) {
            (Some(name), error) if response.is_some() || error.is_some() => RequestRef::Named(name),
            (None, Some(error)) => RequestRef::Line(error.line),
            _ => return Err(serde::de::Error::custom("it has neither a response nor an error")),
        };
        Ok(Self { request, succeeded })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn answered(body: &str) -> BatchResult {
        let (status, request_id) = (StatusCode::OK, "req-1".to_owned());
        let outcome = Outcome::Answered { status, request_id, body: body.as_bytes().to_vec() };
        BatchResult { line: 3, custom_id: Some("a".to_owned()), outcome }
    }

    #[test]
    fn a_result_is_one_line_with_the_body_as_it_was_answered() {
        let text = String::from_utf8(answered("{\"b\":1.0,\n\"a\":[\"\\n\"]}").write()).unwrap();
        assert!(text.contains("\"body\":{\"b\":1.0, \"a\":[\"\\n\"]}"), "{text}");
        assert_eq!(text.matches('\n').count(), 1);
        assert!((0..text.len()).all(|end| is_beginning(&text.as_bytes()[..end])) && !is_beginning(b"{\"id\": 1"));
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&value["custom_id"], &value["error"]), (&json!("a"), &Value::Null));
        assert_eq!(value["response"]["request_id"], "req-1");
        let text = String::from_utf8(answered("no JSON").write()).unwrap();
        assert!(text.contains("\"body\":\"no JSON\""), "{text}");
    }

    #[test]
    fn what_was_written_is_read_as_finished() {
        let read = |result: &BatchResult| FinishedLine::read(&result.write()).unwrap();
        let named = RequestRef::Named("a".to_owned());
        assert_eq!(read(&answered("{}")), FinishedLine { request: named.clone(), succeeded: true });
        let refused = |custom_id| {
            let outcome = Outcome::Refused { code: "invalid_line", message: "no".to_owned() };
            BatchResult { line: 9, custom_id, outcome }
        };
        assert_eq!(read(&refused(Some("a".to_owned()))), FinishedLine { request: named, succeeded: false });
        assert_eq!(read(&refused(None)), FinishedLine { request: RequestRef::Line(9), succeeded: false });
    }

    #[test]
    fn a_line_of_requests_is_no_result() {
        for line in [r#"{"custom_id": "a", "method": "POST", "url": "/", "body": {}}"#, "{}", "7", "{\"custom_id\":"] {
            assert!(FinishedLine::read(line.as_bytes()).is_err(), "{line}");
        }
    }
}
