//! A run of a batch: as many requests under way as keep the engines busy, and their results as they come.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::{Stream, StreamExt, stream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;

use super::answer::{Destination, answer};
use super::error::BatchError;
use super::line_reader::LineReader;
use super::requests::{Pending, Requests};
use super::result_line::{BatchResult, Outcome};
use super::results_file::ResultsFile;
use super::shard::Shard;

/// Bytes that a line may have beside the body: its name and its route.
pub(super) const LINE_BYTES: usize = 64 << 10;

/// Results of a batch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BatchCounts {
    /// Requests that were answered with success.
    pub completed: u64,
    /// Requests that were refused or failed, and lines that are no requests.
    pub failed: u64,
}

impl BatchCounts {
    /// Counts one more.
    pub const fn add(&mut self, succeeded: bool) {
        *(if succeeded { &mut self.completed } else { &mut self.failed }) += 1;
    }

    /// All results.
    pub const fn finished(self) -> u64 {
        self.completed + self.failed
    }
}

/// How many requests are under way, and in which order their results come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Most requests under way.
    pub requests: usize,
    /// Most bytes of the bodies of all of them together; a longer body is sent alone.
    pub bytes: usize,
    /// Most bytes of one body.
    pub body_bytes: usize,
    /// Whether results come in the order of the lines.
    pub is_ordered: bool,
}

/// A batch to be run.
#[derive(Debug)]
pub struct Batch {
    /// File of requests.
    pub requests: PathBuf,
    /// The part of it that is run.
    pub shard: Shard,
    /// File of results.
    pub results: ResultsFile,
    /// Where requests go.
    pub destination: Destination,
    /// How many at once.
    pub pace: Pace,
    /// Set when no further request is to be begun.
    pub is_ending: Arc<AtomicBool>,
}

/// Runs a batch. `told` hears of every result once it is in the file. Reads and writes files on this thread, which must
/// not be one that answers requests.
///
/// # Errors
/// When a file cannot be read or written, or the run was to end early. All results that were appended stay.
pub async fn run(batch: Batch, mut told: impl FnMut(&BatchResult)) -> Result<BatchCounts, BatchError> {
    let Batch { requests: path, shard, mut results, destination, pace, is_ending } = batch;
    let mut finished = std::mem::take(&mut results.finished);
    let line_bytes = pace.body_bytes.saturating_add(LINE_BYTES);
    let lines = LineReader::new(BufReader::new(open_requests(&path)?), line_bytes);
    let requests = Requests { lines, shard, line_bytes, finished: &mut finished };
    let requests = requests.take_while(|_| !is_ending.load(Ordering::Relaxed));
    let begun = begin(requests, pace.bytes);
    let begun = begun.map(|begun| resolve(begun, destination.clone()));
    let outcomes = if pace.is_ordered {
        begun.buffered(pace.requests.max(1)).left_stream()
    } else {
        begun.buffer_unordered(pace.requests.max(1)).right_stream()
    };
    let mut outcomes = std::pin::pin!(outcomes);
    while let Some(outcome) = outcomes.next().await {
        match outcome.map_err(|source| BatchError::Read { path: path.clone(), source })? {
            Some(result) => {
                results.append(&result)?;
                told(&result);
            }
            // The server ends: further requests would come back as well. In order, a later result would stand before
            // those of requests that are still to be answered.
            None if pace.is_ordered => {
                is_ending.store(true, Ordering::Relaxed);
                break;
            }
            None => is_ending.store(true, Ordering::Relaxed),
        }
    }
    results.sync()?;
    if is_ending.load(Ordering::Relaxed) {
        return Err(BatchError::Interrupted { finished: results.counts().finished() });
    }
    Ok(results.counts())
}

/// Opens a file of requests.
pub(super) fn open_requests(path: &Path) -> Result<File, BatchError> {
    let failed = |source| BatchError::Open { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    if file.metadata().map_err(failed)?.is_file() {
        Ok(file)
    } else {
        Err(BatchError::NotRegular { path: path.to_owned() })
    }
}

/// A line whose turn it is, and its part of the bytes under way.
struct Begun {
    pending: Pending,
    bytes: OwnedSemaphorePermit,
}

/// Reads lines as long as there is room for their bytes.
fn begin(requests: impl Iterator<Item = io::Result<Pending>>, most: usize) -> impl Stream<Item = io::Result<Begun>> {
    let most = most.clamp(1, Semaphore::MAX_PERMITS.min(u32::MAX as usize));
    let room = Arc::new(Semaphore::new(most));
    stream::unfold(requests, move |mut requests| {
        let room = Arc::clone(&room);
        async move {
            let pending = loop {
                match requests.next()? {
                    // Signals are seen between two lines of many that are passed over.
                    Ok(Pending::Passed) => tokio::task::consume_budget().await,
                    Ok(pending) => break pending,
                    Err(error) => return Some((Err(error), requests)),
                }
            };
            let wanted = pending.body_bytes().min(most) as u32;
            let bytes = room.acquire_many_owned(wanted).await.expect("the semaphore is never closed");
            Some((Ok(Begun { pending, bytes }), requests))
        }
    })
}

/// The result of a line; `None` when the server ends before there is one.
async fn resolve(begun: io::Result<Begun>, destination: Destination) -> io::Result<Option<BatchResult>> {
    let Begun { pending, bytes } = begun?;
    let (line, request) = match pending {
        Pending::Known(result) => return Ok(Some(result)),
        Pending::Passed => return Ok(None),
        Pending::Request { line, request } => (line, request),
    };
    let custom_id = Some(request.custom_id.clone());
    let mut task = EndedWithUs(tokio::spawn(answer(destination, request)));
    let outcome = match (&mut task.0).await {
        Ok(outcome) => outcome,
        // The runtime ends its tasks when the process ends.
        Err(failure) if failure.is_cancelled() => None,
        Err(_) => {
            let message = format!("line {line}: the server failed at it");
            Some(Outcome::Refused { code: "internal_error", message })
        }
    };
    drop(bytes);
    Ok(outcome.map(|outcome| BatchResult { line, custom_id, outcome }))
}

/// A task that is cancelled when nobody waits for it any more.
struct EndedWithUs<T>(JoinHandle<T>);

impl<T> Drop for EndedWithUs<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
