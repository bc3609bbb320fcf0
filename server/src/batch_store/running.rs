//! The run of a batch's requests, until they are done or the run is cut off.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::http::{Extensions, HeaderMap, HeaderValue};
use tokio::runtime::Handle;

use super::batch_record::{BatchRecord, BatchStatus};
use super::clock::now;
use super::error::StoreError;
use super::failing::KeyState;
use super::runner::RunnerParts;
use super::store::BatchStore;
use crate::access::KeyName;
use crate::batch::{Batch, BatchError, Destination, ResultsFile, Shard, run};
use crate::client_connection::Peer;

/// Time between two looks at whether a run is to be cut off.
const LOOK: Duration = Duration::from_millis(50);
/// The header of work in the background (RFC 9218).
const BACKGROUND: (&str, &str) = ("priority", "u=7");
/// Address that stands for the server's own batches where limits are per address.
const OURSELVES: ([u8; 4], u16) = ([0, 0, 0, 0], 0);

/// How a run ended.
enum RunEnd {
    /// All requests have results.
    Whole,
    /// The batch was cancelled, its time is over, its key is missing, or the server ends.
    CutOff,
}

/// Runs the requests that have no result yet. What is under way when the run is cut off is given up; all results that
/// were there stay.
///
/// # Errors
/// When a file cannot be read or written, or there is no room for more results.
pub fn run_requests(
    parts: &RunnerParts,
    batch: &BatchRecord,
    is_ending: &AtomicBool,
    runtime: &Handle,
) -> Result<(), StoreError> {
    let store = &parts.store;
    let requests = store.folder().contents(&batch.input_file_id);
    let results = ResultsFile::open_own(&store.folder().results(&batch.id), &requests)?;
    let earlier = results.counts();
    store.measure_results(&batch.id)?;
    store.update(&batch.id, |batch| {
        (batch.counts.completed, batch.counts.failed) = (earlier.completed, earlier.failed);
    })?;
    let destination = Destination { router: parts.router.clone(), extensions: identity(batch), headers: headers() };
    let to_run =
        Batch { requests, shard: Shard::ALL, results, destination, pace: parts.pace, is_ending: Arc::default() };
    let end = runtime.block_on(async {
        tokio::select! {
            ran = run(to_run, |result| store.count(&batch.id, result.succeeded())) => match ran {
                Ok(_) => Ok(RunEnd::Whole),
                Err(BatchError::Interrupted { .. }) => Ok(RunEnd::CutOff),
                Err(error) => Err(error.into()),
            },
            cut_off = until_cut_off(parts, batch, is_ending) => cut_off.map(|()| RunEnd::CutOff),
        }
    })?;
    store.measure_results(&batch.id).or_else(|error| if matches!(end, RunEnd::Whole) { Ok(()) } else { Err(error) })?;
    if matches!(end, RunEnd::Whole) {
        store.update(&batch.id, |batch| {
            if batch.status == BatchStatus::InProgress {
                (batch.status, batch.finalizing_at) = (BatchStatus::Finalizing, Some(now()));
            }
        })?;
    }
    Ok(())
}

/// Returns when a run is to be cut off.
async fn until_cut_off(parts: &RunnerParts, batch: &BatchRecord, is_ending: &AtomicBool) -> Result<(), StoreError> {
    let store: &BatchStore = &parts.store;
    loop {
        let is_cancelled = store.status(&batch.id) != Some(BatchStatus::InProgress);
        let has_no_key = KeyState::of(batch, &parts.keys, parts.withdrawal) != KeyState::Valid;
        let has_no_time = store.is_late(&batch.id) || is_ending.load(Ordering::Relaxed);
        if is_cancelled || has_no_time || has_no_key {
            return Ok(());
        }
        store.measure_results(&batch.id)?;
        tokio::time::sleep(LOOK).await;
    }
}

/// Who asks: the key of the batch, and the server itself.
fn identity(batch: &BatchRecord) -> Extensions {
    let mut extensions = Extensions::new();
    extensions.insert(Peer(SocketAddr::from(OURSELVES)));
    if let Some(key) = batch.owner.as_deref().and_then(KeyName::new) {
        extensions.insert(key);
    }
    extensions
}

fn headers() -> HeaderMap {
    let (name, value) = BACKGROUND;
    HeaderMap::from_iter([(name.parse().expect("a name of a header"), HeaderValue::from_static(value))])
}
