//! A line of a file of requests: which route is asked what, and the name that the result will have.

use std::borrow::Cow;
use std::collections::HashMap;

use axum::body::Bytes;
use axum::http::Uri;
use serde::Deserialize;
use serde_json::value::RawValue;

/// A request of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchRequest {
    /// The name of its result.
    pub custom_id: String,
    /// The route: a path, which may have a query.
    pub url: Uri,
    /// The body, as it is written.
    pub body: Bytes,
}

/// Why a line is not a request.
#[derive(Debug, thiserror::Error)]
pub enum LineProblem {
    /// More bytes than are read.
    #[error("it has more than {limit} bytes (limits.body_bytes, and what a line has beside the body)")]
    TooLong {
        /// Allowed.
        limit: usize,
    },
    /// Not the object that a line has to be.
    #[error("it is not a request: {0}")]
    NotARequest(#[from] serde_json::Error),
    /// Another method than POST.
    #[error("`method` must be \"POST\"")]
    Method,
    /// No path.
    #[error("`url` must be a path, such as \"/v1/completions\"")]
    Url,
    /// The answer would come piece by piece.
    #[error("`stream` must be false or absent: a result is whole")]
    Streams,
    /// The name is that of an earlier line.
    #[error("`custom_id` is that of an earlier line: {custom_id:?}")]
    Repeated {
        /// The name.
        custom_id: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Declared<'a> {
    custom_id: String,
    #[serde(borrow)]
    method: Cow<'a, str>,
    #[serde(borrow)]
    url: Cow<'a, str>,
    #[serde(borrow)]
    body: &'a RawValue,
}

#[derive(Deserialize)]
struct Named {
    custom_id: String,
}

impl BatchRequest {
    /// Reads a line.
    ///
    /// # Errors
    /// The [`LineProblem`] of a line that is no request.
    pub fn read(line: &[u8]) -> Result<Self, LineProblem> {
        let Declared { custom_id, method, url, body } = serde_json::from_slice(line)?;
        if method != "POST" {
            return Err(LineProblem::Method);
        }
        let url: Uri = url.parse().map_err(|_| LineProblem::Url)?;
        if url.authority().is_some() || !url.path().starts_with('/') {
            return Err(LineProblem::Url);
        }
        // Of a field that is given twice, the last value counts, as it does for the routes.
        let fields = serde_json::from_str::<HashMap<String, &RawValue>>(body.get()).unwrap_or_default();
        if fields.get("stream").is_some_and(|stream| stream.get() == "true") {
            return Err(LineProblem::Streams);
        }
        Ok(Self { custom_id, url, body: Bytes::copy_from_slice(body.get().as_bytes()) })
    }

    /// The name of a line that may be no request.
    pub fn name_in(line: &[u8]) -> Option<String> {
        serde_json::from_slice::<Named>(line).ok().map(|named| named.custom_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(line: &str) -> String {
        BatchRequest::read(line.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn a_body_stays_as_it_is_written() {
        let line = r#"{"custom_id": "a", "method": "POST", "url": "/v1/x?y=1", "body": {"b":  1.0, "a": "é"}}"#;
        let request = BatchRequest::read(line.as_bytes()).unwrap();
        assert_eq!((request.custom_id.as_str(), request.url.to_string().as_str()), ("a", "/v1/x?y=1"));
        assert_eq!(request.body, r#"{"b":  1.0, "a": "é"}"#.as_bytes());
    }

    #[test]
    fn what_is_wrong_with_a_line_is_named() {
        assert!(problem("{").contains("it is not a request"));
        assert!(problem(r#"{"method": "POST", "url": "/", "body": {}}"#).contains("missing field `custom_id`"));
        let rest = |rest: &str| format!("{{\"custom_id\": \"a\", {rest}}}");
        assert!(problem(&rest(r#""method": "GET", "url": "/", "body": {}"#)).contains("POST"));
        for url in ["http://host/v1", "v1", "", "/ x"] {
            assert!(
                problem(&rest(&format!(r#""method": "POST", "url": "{url}", "body": {{}}"#))).contains("path"),
                "{url}"
            );
        }
        assert!(problem(&rest(r#""method": "POST", "url": "/", "body": {}, "extra": 1"#)).contains("extra"));
        let streams = rest(r#""method": "POST", "url": "/", "body": {"stream": true}"#);
        assert!(problem(&streams).contains("`stream`"));
        for (body, streams) in [
            (r#"{"stream": false, "stream": true}"#, true),
            (r#"{"stream": true, "stream": false}"#, false),
            (r#"{"\u0073tream":  true }"#, true),
            (r#"{"options": {"stream": true}}"#, false),
        ] {
            let line = rest(&format!(r#""method": "POST", "url": "/", "body": {body}"#));
            assert_eq!(BatchRequest::read(line.as_bytes()).is_err(), streams, "{body}");
        }
        assert_eq!(BatchRequest::name_in(streams.as_bytes()).as_deref(), Some("a"));
        assert_eq!(BatchRequest::name_in(br#"{"custom_id": 7}"#), None);
    }
}
