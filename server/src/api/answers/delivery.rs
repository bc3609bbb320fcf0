//! The last bytes of an answer: when they are written, the request's record and its share of memory are released.
//!
//! Used by `whole` and `stream`. The HTTP library drops bytes once the socket has taken them, or with the connection.

use axum::body::Bytes;

use super::record::RequestRecord;
use crate::api::http::Share;

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
        Bytes::from_owner(Held { bytes, _until_taken: self })
    }
}

/// Bytes with what is released when they are taken.
pub struct Held<T> {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Dropped with them.
    pub _until_taken: T,
}

impl<T> AsRef<[u8]> for Held<T> {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}
