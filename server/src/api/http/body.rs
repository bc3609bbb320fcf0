//! Reads a request's body under limits of bytes and time, and of the memory of all bodies together.
//!
//! Called by `completions` and by the fallbacks. A body that is refused is read a little further and dropped, so that
//! the client, which writes before it reads, gets to see the answer.

use std::io::{self, ErrorKind};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, header};
use http_body_util::BodyExt;
use hyper::body::Frame;
use tokio::time::Instant;

use super::budget::{Budget, Full, Share};
use super::content_coding::ContentCoding;
use super::error::ApiError;
use super::inflate::inflate;
use crate::api::json::text_in_beginning;
use crate::client_connection::Peer;
use crate::job_pool::JobPool;
use crate::overload::Visitor;
use crate::process::allocator::{OutOfMemory, try_reserve};
use crate::registry::ModelRegistry;

/// A body up to this size is parsed where it is read, which takes less time than a change of threads, and takes no
/// part of the [`Budget`].
pub const SMALL_BODY_BYTES: usize = 16 << 10;

/// Errors of a connection whose client has gone.
const ENDS: [ErrorKind; 4] =
    [ErrorKind::UnexpectedEof, ErrorKind::ConnectionReset, ErrorKind::ConnectionAborted, ErrorKind::TimedOut];

/// Limits of a body.
#[derive(Debug, Clone, Copy)]
pub struct BodyLimits {
    /// Most bytes that are accepted.
    pub bytes: usize,
    /// Bytes beyond the limit that are still read and dropped.
    pub drain_bytes: usize,
    /// Time for the body to arrive, dropped bytes included.
    pub timeout: Duration,
    /// The slowest pace of a large body.
    pub pace: BodyPace,
}

/// The slowest pace of a large body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyPace {
    /// Bytes that have to come in a second.
    pub least_bytes_per_s: usize,
    /// The stretch of time over which the pace is measured.
    pub stretch: Duration,
}

impl BodyPace {
    fn least_bytes(self) -> u128 {
        self.least_bytes_per_s as u128 * self.stretch.as_millis() / 1000
    }
}

/// A body, and its share of the budget.
#[derive(Debug)]
pub struct ReceivedBody {
    /// The bytes of the body.
    pub bytes: Vec<u8>,
    /// The share, to be kept until the body is parsed.
    pub held: Share,
}

/// The queues that a request may wait in.
#[derive(Debug, Clone, Copy)]
pub struct Queues<'a> {
    /// The served models.
    pub models: &'a ModelRegistry,
    /// The request, as far as it is known.
    pub visitor: &'a Visitor,
}

impl Queues<'_> {
    /// Whether there is a place for the request, if it is for this model.
    fn check(self, model: Option<&str>) -> Result<(), ApiError> {
        Ok(self.models.check_vacancy_for(model, self.visitor)?)
    }
}

/// Reads one body.
#[derive(Debug, Clone, Copy)]
pub struct BodyReader<'a> {
    /// Limits of one body.
    pub limits: BodyLimits,
    /// Memory of all large bodies.
    pub budget: &'a Budget,
    /// Sender of the body.
    pub peer: Option<Peer>,
    /// For a request that waits in a queue: a large body is not read when no queue has a place for it.
    pub queues: Option<Queues<'a>>,
    /// Threads that inflate compressed bodies.
    pub inflating: &'a JobPool,
}

impl BodyReader<'_> {
    /// Reads the whole body, and inflates a compressed one.
    pub async fn read(self, headers: &HeaderMap, body: Body) -> Result<ReceivedBody, ApiError> {
        let received = match tokio::time::timeout(self.limits.timeout, self.receive(headers, body)).await {
            Ok(read) => read?,
            Err(_) => return Err(ApiError::BodyTimeout { seconds: self.limits.timeout.as_secs() }),
        };
        let Some(coding) = ContentCoding::declared(headers)? else { return Ok(received) };
        // Which model it names is not known before it is inflated.
        self.queues.map_or(Ok(()), |queues| queues.check(None))?;
        let limit = self.limits.bytes;
        self.inflating.run(move || inflate(received, coding, limit)).await?
    }

    async fn receive(self, headers: &HeaderMap, mut body: Body) -> Result<ReceivedBody, ApiError> {
        let mut share = self.budget.share(self.peer);
        let mut refused = match ContentCoding::declared(headers) {
            Ok(_) => declared_bytes(headers).and_then(|declared| self.check_declared(declared, &share).err()),
            Err(unknown) => Some(unknown),
        };
        if headers.contains_key(header::EXPECT)
            && let Some(refused) = refused
        {
            // This client waits for our answer before it sends anything.
            return Err(refused);
        }
        // What a client declares is no reason to set memory aside before it sends anything.
        let mut bytes = Vec::new();
        let mut seen = 0_usize;
        let mut pace = Pace::new(self.limits.pace);
        while let Some(frame) = pace.next(&mut body, share.bytes() > 0).await? {
            let frame = frame.map_err(broken)?;
            let Some(data) = frame.data_ref() else { continue };
            seen = seen.saturating_add(data.len());
            if refused.is_none() {
                refused = self.keep(data, &mut bytes, &mut share).err();
            }
            if refused.is_some() {
                bytes = Vec::new();
                share = self.budget.share(None);
                if seen > self.limits.bytes.saturating_add(self.limits.drain_bytes) {
                    break;
                }
            }
        }
        refused.map_or(Ok(ReceivedBody { bytes, held: share }), Err)
    }

    fn check_declared(self, declared: u64, share: &Share) -> Result<(), ApiError> {
        let declared = usize::try_from(declared).unwrap_or(usize::MAX);
        if declared > self.limits.bytes {
            return Err(ApiError::BodyTooLarge { limit: self.limits.bytes });
        }
        if declared <= SMALL_BODY_BYTES {
            return Ok(());
        }
        self.queues.map_or(Ok(()), |queues| queues.check(None))?;
        Ok(share.check(declared)?)
    }

    /// Whether there is a place for the request whose body begins so: in the queue of the model that it names by then,
    /// so that bodies for a model without places leave the memory of bodies to those for others.
    fn check_vacancy(self, beginning: &[u8]) -> Result<(), ApiError> {
        let Some(queues) = self.queues else { return Ok(()) };
        let name = match queues.models.only() {
            Some(_) => None,
            None => text_in_beginning(beginning, "model"),
        };
        queues.check(name.as_deref())
    }

    fn keep(self, data: &[u8], bytes: &mut Vec<u8>, share: &mut Share) -> Result<(), ApiError> {
        let length = bytes.len() + data.len();
        if length > self.limits.bytes {
            return Err(ApiError::BodyTooLarge { limit: self.limits.bytes });
        }
        if length > SMALL_BODY_BYTES {
            if share.bytes() == 0 {
                let beginning =
                    if bytes.is_empty() { &data[..data.len().min(SMALL_BODY_BYTES)] } else { bytes.as_slice() };
                self.check_vacancy(beginning)?;
            }
            share.grow_to(length)?;
        }
        try_reserve(bytes, data.len())?;
        bytes.extend_from_slice(data);
        Ok(())
    }
}

/// How fast a body arrives that takes room which others could have.
pub struct Pace {
    wanted: BodyPace,
    /// End of the stretch of time that is looked at, and what came in it.
    end: Instant,
    bytes: usize,
}

impl Pace {
    /// The pace of a body from now on.
    pub fn new(wanted: BodyPace) -> Self {
        Self { wanted, end: Instant::now() + wanted.stretch, bytes: 0 }
    }

    /// The next part of the body. One that `takes_room` has to come fast enough.
    ///
    /// # Errors
    /// [`ApiError::BodyTooSlow`].
    pub async fn next(
        &mut self,
        body: &mut Body,
        takes_room: bool,
    ) -> Result<Option<Result<Frame<Bytes>, axum::Error>>, ApiError> {
        if !takes_room {
            let frame = body.frame().await;
            // What came before it takes room says nothing about how fast it comes.
            *self = Self::new(self.wanted);
            return Ok(frame);
        }
        loop {
            let frame = tokio::time::timeout_at(self.end, body.frame()).await;
            if let Ok(None) = &frame {
                return Ok(None);
            }
            if let Ok(Some(Ok(frame))) = &frame {
                self.bytes += frame.data_ref().map_or(0, Bytes::len);
            }
            if Instant::now() >= self.end {
                if (self.bytes as u128) < self.wanted.least_bytes() {
                    return Err(ApiError::BodyTooSlow { least_bytes_per_s: self.wanted.least_bytes_per_s });
                }
                *self = Self::new(self.wanted);
            }
            if let Ok(frame) = frame {
                return Ok(frame);
            }
        }
    }
}

impl From<Full> for ApiError {
    fn from(full: Full) -> Self {
        match full {
            Full::All { limit } => Self::TooManyBodies { limit },
            Full::Peer { limit } => Self::TooManyBodiesOfPeer { limit },
        }
    }
}

impl From<OutOfMemory> for ApiError {
    fn from(OutOfMemory: OutOfMemory) -> Self {
        Self::OutOfMemory
    }
}

/// A body that ended before its end: the client went away, or sent what is no body.
pub fn broken(error: axum::Error) -> ApiError {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(error) = cause {
        let is_end = |error: &io::Error| ENDS.contains(&error.kind());
        if error.downcast_ref().is_some_and(is_end)
            || error.downcast_ref().is_some_and(hyper::Error::is_incomplete_message)
        {
            return ApiError::ClientGone;
        }
        cause = error.source();
    }
    ApiError::BodyBroken { problem: error.to_string() }
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
