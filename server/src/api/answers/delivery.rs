//! The last bytes of an answer: when they are written, the request's record and its share of memory are released.
//!
//! Used by `whole` and `stream`. The HTTP library drops bytes once the socket has taken them, or with the connection.

use axum::body::Bytes;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};

use super::record::RequestRecord;
use crate::api::http::{ApiError, Share};

/// The record and the memory that a request holds until its answer is written.
#[derive(Debug)]
pub struct Delivery {
    /// The request's record, which counts it when dropped.
    pub record: RequestRecord,
    /// Memory of the answer.
    pub share: Share,
}

impl Delivery {
    /// The bytes that complete the answer.
    pub fn last(mut self, bytes: impl Into<Vec<u8>>) -> Bytes {
        let bytes = bytes.into();
        self.record.complete();
        self.share.settle(bytes.len());
        Bytes::from_owner(Delivered { bytes, _delivery: self })
    }
}

/// An answer as JSON that is to be written as a whole.
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
            Ok(Self { json, share }) => {
                let kind = HeaderValue::from_static("application/json");
                ([(header::CONTENT_TYPE, kind)], Delivery { record, share }.last(json)).into_response()
            }
            Err(error) => {
                record.fail(&error);
                error.into_response()
            }
        }
    }
}

struct Delivered {
    bytes: Vec<u8>,
    _delivery: Delivery,
}

impl AsRef<[u8]> for Delivered {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}
