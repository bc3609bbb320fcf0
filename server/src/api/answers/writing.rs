//! Answers in one piece: written as JSON, off the async threads when that takes long, and held until they are taken.
//!
//! Used by `whole`, by `stream` for its events, and by the rooms whose answers are no generations.

use axum::body::Bytes;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};

use super::delivery::{Delivery, Held};
use super::record::RequestRecord;
use crate::api::http::{ApiError, Share};
use crate::job_pool::JobPool;

/// Answers up to this size are written where they are. Numbers take longest: 256 KiB are estimated for 16384 of them,
/// which take a third of a millisecond on one Zen 4 core (those of 3 MB take 6); in base64 they take a fourth of it. A
/// change of threads takes some hundredths of a millisecond.
const SMALL_BYTES: usize = 256 << 10;

/// An answer as JSON.
#[derive(Debug)]
pub struct Written {
    /// The JSON.
    pub json: Vec<u8>,
    /// Its memory.
    pub share: Share,
}

impl Written {
    /// The response with this answer, or with the error in its place.
    pub fn respond(written: Result<Self, ApiError>, mut record: RequestRecord) -> Response {
        match written {
            Ok(Self { json, share }) => json_response(Delivery { record, share }.last(json)),
            Err(error) => {
                record.fail(&error);
                error.into_response()
            }
        }
    }

    /// The bytes, which hold their memory until they are taken.
    fn into_bytes(self) -> Bytes {
        let Self { json, mut share } = self;
        share.settle(json.len());
        Bytes::from_owner(Held { bytes: json, _until_taken: share })
    }
}

impl IntoResponse for Written {
    fn into_response(self) -> Response {
        json_response(self.into_bytes())
    }
}

/// The result of `write`, which makes JSON of about this many bytes: a large one is made by a thread of the pool.
///
/// # Errors
/// When the thread fails.
pub async fn write_json<T: Send + 'static>(
    writers: &JobPool,
    bytes: usize,
    write: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ApiError> {
    if bytes <= SMALL_BYTES { Ok(write()) } else { Ok(writers.run(write).await?) }
}

fn json_response(bytes: Bytes) -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], bytes).into_response()
}

#[cfg(test)]
mod tests {
    use std::thread::current;

    use super::*;

    #[tokio::test]
    async fn large_answers_are_written_on_a_thread_of_the_pool_and_small_ones_where_they_are() {
        let (pool, here) = (JobPool::new(1), current().id());
        for (bytes, is_here) in [(0, true), (SMALL_BYTES, true), (SMALL_BYTES + 1, false)] {
            let write = move || vec![u8::from(current().id() == here)];
            assert_eq!(write_json(&pool, bytes, write).await, Ok(vec![u8::from(is_here)]), "{bytes}");
        }
    }
}
