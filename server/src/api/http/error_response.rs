//! An error's answer: OpenAI's error object, and the headers of its status.
//!
//! Used wherever an [`ApiError`] is answered.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::error::ApiError;
use crate::request::{FailureKind, Refusal, Shed};

/// An answer's error code; in its extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErrorCode(pub &'static str);

impl ApiError {
    /// The error's code in metrics and logs.
    pub fn code(&self) -> ErrorCode {
        ErrorCode(self.face().code.unwrap_or("invalid_request"))
    }

    /// How to identify oneself, for an error of that (RFC 6750).
    const fn challenge(&self) -> Option<&'static str> {
        match self {
            Self::NoKey => Some("Bearer realm=\"encdec\""),
            Self::WrongKey => Some("Bearer realm=\"encdec\", error=\"invalid_token\""),
            _ => None,
        }
    }

    /// Time after which a client that was turned away may come back.
    const fn retry_after(&self) -> Duration {
        match self {
            Self::Refused(Refusal::Shed(shed)) => shed.retry_after,
            _ => Shed::RETRY,
        }
    }

    /// OpenAI's error object as JSON; also sent inside a stream that fails.
    pub fn body(&self) -> String {
        let face = self.face();
        let error = ErrorBody { message: self.to_string(), kind: face.kind, param: self.param(), code: face.code };
        serde_json::to_string(&ErrorObject { error }).expect("strings serialise")
    }
}

/// OpenAI's error object.
#[derive(Serialize, ToSchema)]
#[schema(as = Error)]
pub struct ErrorObject<'a> {
    error: ErrorBody<'a>,
}

#[derive(Serialize, ToSchema)]
struct ErrorBody<'a> {
    message: String,
    #[serde(rename = "type")]
    kind: &'static str,
    param: Option<&'a str>,
    code: Option<&'static str>,
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = self.status();
        let mut response = Response::new(Body::from(self.body()));
        *response.status_mut() = status;
        response.extensions_mut().insert(self.code());
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            let after = self.retry_after();
            let millis = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
            headers.insert(header::RETRY_AFTER, HeaderValue::from(millis.div_ceil(1000)));
            // OpenAI's clients look for this one first.
            headers.insert(HeaderName::from_static("retry-after-ms"), HeaderValue::from(millis));
        }
        let is_lasting = matches!(self, Self::Failed { kind: FailureKind::Lasting, .. } | Self::TimedOut { .. });
        if is_lasting || matches!(status, StatusCode::CONFLICT | StatusCode::INSUFFICIENT_STORAGE) {
            // OpenAI's clients repeat what ended with a 409 or a 5xx unless they are told not to.
            headers.insert(HeaderName::from_static("x-should-retry"), HeaderValue::from_static("false"));
        }
        if let Some(challenge) = self.challenge() {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        if matches!(self, Self::UnknownEncoding { .. }) {
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip, zstd, deflate"));
        }
        if matches!(status, StatusCode::PAYLOAD_TOO_LARGE | StatusCode::REQUEST_TIMEOUT) {
            // Whatever of the body is still on its way must not be read as the next request.
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::telemetry::Outcome;

    #[test]
    fn several_unknown_fields_are_named_in_one_message() {
        let error = ApiError::UnknownFields { names: vec!["bogus".into(), "odd".into()] };
        let body: Value = serde_json::from_str(&error.body()).unwrap();
        assert_eq!(
            body,
            json!({"error": {
                "message": "Unrecognized request arguments supplied: bogus, odd",
                "type": "invalid_request_error", "param": "bogus", "code": null,
            }})
        );
    }

    #[test]
    fn overload_and_shutdown_ask_the_client_to_come_back() {
        for (refusal, status, outcome) in [
            (Shed::full(256).into(), StatusCode::TOO_MANY_REQUESTS, Outcome::Overloaded),
            (Refusal::Draining, StatusCode::SERVICE_UNAVAILABLE, Outcome::Unavailable),
        ] {
            let error = ApiError::from(refusal);
            assert_eq!(error.outcome(), outcome);
            let response = error.into_response();
            assert_eq!(response.status(), status);
            assert_eq!(response.headers()[header::RETRY_AFTER], "1");
            assert_eq!(response.headers()["retry-after-ms"], "1000");
        }
    }

    #[test]
    fn a_refusal_of_one_prompt_of_a_list_says_which() {
        let refusal = Refusal::SourceTooLong { tokens: 9000, limit: 8192 };
        let error = ApiError::refused_source(refusal, "prompt[3]".to_owned());
        let body: Value = serde_json::from_str(&error.body()).unwrap();
        assert_eq!(body["error"]["param"], "prompt");
        let message = body["error"]["message"].as_str().unwrap();
        assert!(message.ends_with("However, 'prompt[3]' has 9000 tokens"), "{message}");
    }
}
