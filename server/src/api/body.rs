//! Reads a request's body under a limit of bytes and time.
//!
//! Called by `completions`. A body that is too large is read a little further and dropped, so that the client, which
//! writes before it reads, gets to see the answer.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, header};
use http_body_util::BodyExt;

use super::error::ApiError;

/// Limits of a body.
#[derive(Debug, Clone, Copy)]
pub struct BodyLimits {
    /// Bytes accepted.
    pub bytes: usize,
    /// Bytes beyond the limit that are still read and dropped.
    pub drain_bytes: usize,
    /// Time for the body to arrive, dropped bytes included.
    pub timeout: Duration,
}

/// The whole body.
pub async fn read_body(headers: &HeaderMap, body: Body, limits: BodyLimits) -> Result<Vec<u8>, ApiError> {
    match tokio::time::timeout(limits.timeout, read(headers, body, limits)).await {
        Ok(read) => read,
        Err(_) => Err(ApiError::BodyTimeout { seconds: limits.timeout.as_secs() }),
    }
}

async fn read(headers: &HeaderMap, mut body: Body, limits: BodyLimits) -> Result<Vec<u8>, ApiError> {
    let too_large = ApiError::BodyTooLarge { limit: limits.bytes };
    let declared = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    let declared_too_large = declared.is_some_and(|length| length > limits.bytes as u64);
    if declared_too_large && headers.contains_key(header::EXPECT) {
        // This client waits for our answer before it sends anything.
        return Err(too_large);
    }
    // What a client declares is no reason to set memory aside before it sends anything.
    let mut bytes = Vec::new();
    let mut seen = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| ApiError::BodyBroken { problem: error.to_string() })?;
        let Some(data) = frame.data_ref() else { continue };
        seen += data.len();
        if seen > limits.bytes.saturating_add(limits.drain_bytes) {
            break;
        }
        if declared_too_large || seen > limits.bytes {
            bytes = Vec::new();
        } else {
            bytes.extend_from_slice(data);
        }
    }
    if declared_too_large || seen > limits.bytes { Err(too_large) } else { Ok(bytes) }
}
