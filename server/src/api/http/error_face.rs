//! The one table of HTTP statuses, types and codes of errors, and the field at fault.
//!
//! Used by `error_response` and by whoever counts requests.

use axum::http::StatusCode;

use super::error::ApiError;
use crate::batch_store::StoreError;
use crate::request::{FailureKind, Refusal, Shed, ShedReason};
use crate::telemetry::Outcome;

const OVERLOADED: (StatusCode, &str, Option<&str>) =
    (StatusCode::TOO_MANY_REQUESTS, "rate_limit_error", Some("overloaded"));

const OVER_QUOTA: (StatusCode, &str, Option<&str>) =
    (StatusCode::TOO_MANY_REQUESTS, "rate_limit_error", Some("rate_limit_exceeded"));

const fn unavailable(code: &'static str) -> (StatusCode, &'static str, Option<&'static str>) {
    (StatusCode::SERVICE_UNAVAILABLE, "service_unavailable", Some(code))
}

const fn of_shed(reason: ShedReason) -> (StatusCode, &'static str, Option<&'static str>) {
    match reason {
        ShedReason::Full { .. } | ShedReason::LongWait { .. } | ShedReason::Recalled => OVERLOADED,
        ShedReason::Deadline { .. } => unavailable("deadline_unreachable"),
        ShedReason::Quota { .. } => OVER_QUOTA,
    }
}

/// `type` of errors that the client made.
const BAD_REQUEST: &str = "invalid_request_error";

const fn refused(status: StatusCode, code: &'static str) -> (StatusCode, &'static str, Option<&'static str>) {
    (status, BAD_REQUEST, Some(code))
}

/// Status, type and code of an error.
pub struct Face {
    /// HTTP status.
    pub status: StatusCode,
    /// `type` of the error object.
    pub kind: &'static str,
    /// `code` of the error object.
    pub code: Option<&'static str>,
}

impl ApiError {
    /// The only place where an error gets its HTTP status.
    pub fn face(&self) -> Face {
        let (status, kind, code) = match self {
            Self::UnknownModel { .. } => (StatusCode::NOT_FOUND, BAD_REQUEST, Some("model_not_found")),
            Self::Store(error) => return face_of(error),
            Self::NothingStored => (StatusCode::NOT_FOUND, BAD_REQUEST, Some("response_not_found")),
            Self::UnknownPath { .. } | Self::NotServed { .. } => refused(StatusCode::NOT_FOUND, "unknown_url"),
            Self::MethodNotAllowed { .. } => refused(StatusCode::METHOD_NOT_ALLOWED, "method_not_supported"),
            Self::ForeignOrigin { .. } => (StatusCode::FORBIDDEN, BAD_REQUEST, Some("origin_not_allowed")),
            Self::ForeignHost { .. } => (StatusCode::FORBIDDEN, BAD_REQUEST, Some("host_not_allowed")),
            Self::NoKey | Self::WrongKey => refused(StatusCode::UNAUTHORIZED, "invalid_api_key"),
            Self::BodyTooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, BAD_REQUEST, Some("request_too_large")),
            Self::UnknownEncoding { .. } => refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_content_encoding"),
            Self::BodyTimeout { .. } | Self::BodyTooSlow { .. } => {
                refused(StatusCode::REQUEST_TIMEOUT, "request_timeout")
            }
            Self::Failed { kind: FailureKind::Overloaded, .. } => unavailable("form_timeout"),
            Self::Failed { kind: FailureKind::Passing | FailureKind::Lasting, .. }
            | Self::EngineGone
            | Self::WorkerFailed => (StatusCode::INTERNAL_SERVER_ERROR, "server_error", Some("internal_error")),
            Self::Refused(refusal) => match refusal {
                Refusal::Shed(shed) => of_shed(shed.reason),
                Refusal::Draining => unavailable("shutting_down"),
                Refusal::NoDecoder | Refusal::NoClasses => (StatusCode::BAD_REQUEST, BAD_REQUEST, Some("model_cannot")),
                Refusal::EmptySource | Refusal::TooWide { .. } => (StatusCode::BAD_REQUEST, BAD_REQUEST, None),
                Refusal::SourceTooLong { .. } | Refusal::TargetTooLong { .. } | Refusal::NeverFits { .. } => {
                    (StatusCode::BAD_REQUEST, BAD_REQUEST, Some("context_length_exceeded"))
                }
            },
            Self::TooManyBodies { .. }
            | Self::TooManyBodiesOfPeer { .. }
            | Self::TooManyAnswers { .. }
            | Self::NoRoom => OVERLOADED,
            Self::OutOfMemory => unavailable("out_of_memory"),
            Self::QueuedTooLong { .. } => unavailable("queue_timeout"),
            Self::TimedOut { .. } => (StatusCode::GATEWAY_TIMEOUT, "timeout", Some("deadline_exceeded")),
            Self::EngineStalled { .. } | Self::NotAccepting | Self::NotReady => self.unready(),
            Self::TextTooLong { .. }
            | Self::TextTooManyBytes { .. }
            | Self::TextTooLongToCut { .. }
            | Self::TooManyTokens { .. }
            | Self::TargetTooLong { .. }
            | Self::NeverFits { .. } => (StatusCode::BAD_REQUEST, BAD_REQUEST, Some("context_length_exceeded")),
            Self::NotUtf8 { .. }
            | Self::MalformedJson { .. }
            | Self::NotAnObject { .. }
            | Self::UnknownFields { .. }
            | Self::Unsupported { .. }
            | Self::Missing { .. }
            | Self::WrongType { .. }
            | Self::OutOfRange { .. }
            | Self::Invalid { .. }
            | Self::TooMany { .. }
            | Self::Total { .. }
            | Self::TooLong { .. }
            | Self::UnknownToken { .. }
            | Self::NeedsTokenizer { .. }
            | Self::Untokenizable { .. }
            | Self::BrokenEncoding { .. }
            | Self::ChatTemplate { .. }
            | Self::Form(_)
            | Self::Failed { kind: FailureKind::Refused, .. }
            | Self::ClientGone
            | Self::NotAForm(_)
            | Self::BodyBroken { .. } => (StatusCode::BAD_REQUEST, BAD_REQUEST, None),
        };
        Face { status, kind, code }
    }

    /// The face of a server that is not ready.
    const fn unready(&self) -> (StatusCode, &'static str, Option<&'static str>) {
        unavailable(if matches!(self, Self::NotReady) { "loading" } else { "stalled" })
    }

    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        self.face().status
    }

    /// How a completion request that ends with this error is counted.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::ClientGone => Outcome::Cancelled,
            Self::TimedOut { .. } => Outcome::Late,
            Self::Refused(Refusal::Shed(Shed { reason: ShedReason::Deadline { .. }, .. })) => Outcome::Late,
            Self::Refused(Refusal::Shed(Shed { reason: ShedReason::Quota { .. }, .. })) => Outcome::OverQuota,
            _ => outcome_of(self.status()),
        }
    }

    /// The field at fault: its plain name, so that clients can compare it; the message tells the place in a list.
    pub fn param(&self) -> Option<&str> {
        let place = self.place()?;
        Some(place.split_once('[').map_or(place, |(field, _)| field))
    }

    fn place(&self) -> Option<&str> {
        match self {
            Self::Form(problem) => Some(&problem.param),
            Self::UnknownFields { names } => names.first().map(String::as_str),
            Self::Unsupported { param, .. }
            | Self::Missing { param }
            | Self::OutOfRange { param, .. }
            | Self::TooMany { param, .. }
            | Self::Total { param, .. }
            | Self::NeedsTokenizer { param, .. } => Some(param),
            Self::Store(StoreError::NoRequests { .. }) => Some("input_file_id"),
            Self::WrongType { param, .. }
            | Self::Invalid { param, .. }
            | Self::TooLong { param, .. }
            | Self::UnknownToken { param, .. }
            | Self::TextTooLong { param, .. }
            | Self::TextTooManyBytes { param, .. }
            | Self::TextTooLongToCut { param, .. }
            | Self::Untokenizable { param, .. }
            | Self::TooManyTokens { param, .. }
            | Self::NeverFits { param, .. }
            | Self::ChatTemplate { param, .. } => Some(param),
            Self::TargetTooLong { names, beginning, limit, .. } => Some(names.at_fault(*beginning, *limit)),
            Self::Refused(Refusal::TooWide { .. }) => Some("best_of"),
            Self::Refused(Refusal::NoDecoder | Refusal::NoClasses) | Self::UnknownModel { .. } => Some("model"),
            _ => None,
        }
    }
}

/// Status, type and code of an error of files and batches.
const fn face_of(error: &StoreError) -> Face {
    let (status, kind, code) = match error {
        StoreError::NoFile { .. } => refused(StatusCode::NOT_FOUND, "file_not_found"),
        StoreError::NoBatch { .. } => refused(StatusCode::NOT_FOUND, "batch_not_found"),
        StoreError::NoRequests { .. } => refused(StatusCode::BAD_REQUEST, "wrong_purpose"),
        StoreError::FileTooLarge { .. } => refused(StatusCode::PAYLOAD_TOO_LARGE, "request_too_large"),
        StoreError::InUse { .. } => refused(StatusCode::CONFLICT, "file_in_use"),
        StoreError::NotCancellable { .. } => refused(StatusCode::CONFLICT, "batch_ended"),
        StoreError::TooManyBatches { .. } => OVERLOADED,
        StoreError::NoRoom { .. } | StoreError::TooManyFiles { .. } => {
            refused(StatusCode::INSUFFICIENT_STORAGE, "storage_full")
        }
        StoreError::DiskFull { .. } => (StatusCode::INSUFFICIENT_STORAGE, "server_error", Some("storage_full")),
        StoreError::Disk { .. } => (StatusCode::INTERNAL_SERVER_ERROR, "server_error", Some("internal_error")),
    };
    Face { status, kind, code }
}

/// The outcome of a request with this status.
pub fn outcome_of(status: StatusCode) -> Outcome {
    match status {
        StatusCode::TOO_MANY_REQUESTS => Outcome::Overloaded,
        StatusCode::SERVICE_UNAVAILABLE => Outcome::Unavailable,
        StatusCode::GATEWAY_TIMEOUT => Outcome::Late,
        status if status.is_server_error() => Outcome::Failed,
        status if status.is_client_error() => Outcome::Refused,
        _ => Outcome::Completed,
    }
}
