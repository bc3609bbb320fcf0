//! Reads a request's body under limits of bytes and time, and of what all bodies together may take.
//!
//! Called by `completions` and by the fallbacks. A body that is refused is read a little further and dropped, so that
//! the client, which writes before it reads, gets to see the answer.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, header};
use http_body_util::BodyExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::error::ApiError;
use crate::engine::EngineHandle;

/// A body up to this size is parsed where it is read, which takes less time than a change of threads, and takes no
/// part of the [`BodyBudget`].
pub const SMALL_BODY_BYTES: usize = 16 << 10;

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

/// What all bodies beyond [`SMALL_BODY_BYTES`] may take together, from their first byte until they are parsed.
#[derive(Debug, Clone)]
pub struct BodyBudget {
    free: Arc<Semaphore>,
    bytes: usize,
}

impl BodyBudget {
    /// A budget of `bytes`.
    pub fn new(bytes: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(bytes.min(Semaphore::MAX_PERMITS))), bytes }
    }

    /// Bytes that no body holds.
    pub fn free_bytes(&self) -> usize {
        self.free.available_permits()
    }
}

/// A body, and its part of the budget.
#[derive(Debug, Default)]
pub struct ReceivedBody {
    /// What came.
    pub bytes: Vec<u8>,
    /// To be kept until the body is parsed.
    pub held: Option<OwnedSemaphorePermit>,
}

/// Reads bodies.
#[derive(Debug, Clone, Copy)]
pub struct BodyReader<'a> {
    /// Of one body.
    pub limits: BodyLimits,
    /// Of all bodies.
    pub budget: &'a BodyBudget,
    /// A large body is not taken in when there is no place for its request.
    pub engine: &'a EngineHandle,
}

impl BodyReader<'_> {
    /// The whole body.
    pub async fn read(self, headers: &HeaderMap, body: Body) -> Result<ReceivedBody, ApiError> {
        match tokio::time::timeout(self.limits.timeout, self.receive(headers, body)).await {
            Ok(read) => read,
            Err(_) => Err(ApiError::BodyTimeout { seconds: self.limits.timeout.as_secs() }),
        }
    }

    async fn receive(self, headers: &HeaderMap, mut body: Body) -> Result<ReceivedBody, ApiError> {
        let mut refused = declared_bytes(headers).and_then(|declared| self.check_declared(declared).err());
        if headers.contains_key(header::EXPECT)
            && let Some(refused) = refused
        {
            // This client waits for our answer before it sends anything.
            return Err(refused);
        }
        // What a client declares is no reason to set memory aside before it sends anything.
        let mut received = ReceivedBody::default();
        let mut seen = 0_usize;
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| ApiError::BodyBroken { problem: error.to_string() })?;
            let Some(data) = frame.data_ref() else { continue };
            seen = seen.saturating_add(data.len());
            if refused.is_none() {
                refused = self.keep(data, &mut received).err();
            }
            if refused.is_some() {
                received = ReceivedBody::default();
                if seen > self.limits.bytes.saturating_add(self.limits.drain_bytes) {
                    break;
                }
            }
        }
        refused.map_or(Ok(received), Err)
    }

    fn check_declared(self, declared: u64) -> Result<(), ApiError> {
        if declared > self.limits.bytes as u64 {
            return Err(ApiError::BodyTooLarge { limit: self.limits.bytes });
        }
        if declared <= SMALL_BODY_BYTES as u64 {
            return Ok(());
        }
        self.engine.check_vacancy()?;
        if declared > self.budget.free_bytes() as u64 { Err(self.exhausted()) } else { Ok(()) }
    }

    fn keep(self, data: &[u8], received: &mut ReceivedBody) -> Result<(), ApiError> {
        let length = received.bytes.len() + data.len();
        if length > self.limits.bytes {
            return Err(ApiError::BodyTooLarge { limit: self.limits.bytes });
        }
        if length > SMALL_BODY_BYTES {
            if received.held.is_none() {
                self.engine.check_vacancy()?;
            }
            let held_bytes = received.held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
            let more = u32::try_from(length - held_bytes).map_err(|_| self.exhausted())?;
            let more = Arc::clone(&self.budget.free).try_acquire_many_owned(more).map_err(|_| self.exhausted())?;
            match &mut received.held {
                None => received.held = Some(more),
                Some(held) => held.merge(more),
            }
        }
        received.bytes.extend_from_slice(data);
        Ok(())
    }

    fn exhausted(self) -> ApiError {
        ApiError::TooManyBodies { limit: self.budget.bytes }
    }
}

/// Reads a body that nobody wants and drops it, as far as `limits` allow.
pub async fn discard_body(mut body: Body, limits: BodyLimits) {
    let read = async {
        let mut seen = 0_usize;
        while let Some(Ok(frame)) = body.frame().await {
            seen = seen.saturating_add(frame.data_ref().map_or(0, |data| data.len()));
            if seen > limits.bytes.saturating_add(limits.drain_bytes) {
                break;
            }
        }
    };
    // What takes longer is cut off; the answer is sent all the same.
    let _ = tokio::time::timeout(limits.timeout, read).await;
}

fn declared_bytes(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
