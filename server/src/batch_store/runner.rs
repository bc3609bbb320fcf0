//! The threads that work on batches, and go on with those of an earlier process: some that run requests, and one for
//! what is done quickly, so that a file is checked and a batch is cancelled while others are run.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use tokio::runtime::Handle;

use super::batch_record::{BatchRecord, BatchStatus, RequestCounts};
use super::clock::now;
use super::ending::put_together;
use super::error::StoreError;
use super::failing::{KeyState, lose, withdraw};
use super::running::run_requests;
use super::state::Work;
use super::store::BatchStore;
use super::validation::{FileBounds, check};
use crate::access::Keys;
use crate::batch::Pace;

/// Longest time without a look at what is too old.
const LOOK: Duration = Duration::from_secs(1);
/// Longest time to wait for runs that are cut off.
const CUT_OFF: Duration = Duration::from_secs(2);

/// Parts of a runner.
#[derive(Debug, Clone)]
pub struct RunnerParts {
    /// The batches.
    pub store: BatchStore,
    /// Where requests go.
    pub router: Router,
    /// The valid keys: batches of others are not run.
    pub keys: Keys,
    /// Time for which a key has to be missing until its batches fail.
    pub withdrawal: Duration,
    /// How many requests of a batch at once.
    pub pace: Pace,
    /// How many batches at once.
    pub at_once: usize,
}

/// The threads. Dropped, they end.
#[derive(Debug)]
pub struct Runner {
    store: BatchStore,
    is_ending: Arc<AtomicBool>,
    running: Arc<AtomicUsize>,
}

/// A thread.
struct Worker {
    parts: RunnerParts,
    is_ending: Arc<AtomicBool>,
    running: Arc<AtomicUsize>,
    runtime: Handle,
}

impl Runner {
    /// Starts the threads. Must be called within a runtime.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(parts: &RunnerParts) -> io::Result<Self> {
        let runner = Self { store: parts.store.clone(), is_ending: Arc::default(), running: Arc::default() };
        for place in 0..=parts.at_once {
            let worker = Worker {
                parts: parts.clone(),
                is_ending: Arc::clone(&runner.is_ending),
                running: Arc::clone(&runner.running),
                runtime: Handle::current(),
            };
            let work = if place == 0 { Work::Errand } else { Work::Run };
            std::thread::Builder::new().name(format!("batches-{place}")).spawn(move || worker.keep_working(work))?;
        }
        Ok(runner)
    }

    /// Cuts off all runs, and returns when they have ended. The next start goes on after the results that are there.
    pub async fn end(self) {
        self.stop();
        let began = Instant::now();
        while self.running.load(Ordering::SeqCst) > 0 && began.elapsed() < CUT_OFF {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn stop(&self) {
        self.is_ending.store(true, Ordering::SeqCst);
        self.store.wake();
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Worker {
    fn keep_working(&self, work: Work) {
        while !self.is_ending.load(Ordering::SeqCst) {
            if work == Work::Errand {
                self.parts.store.forget_old();
            }
            let Some(taken) = self.parts.store.take(work, LOOK) else { continue };
            if let Err(error) = self.go_on(&taken.batch) {
                tracing::error!(batch = taken.batch.id, %error, "a batch cannot go on; it is tried again");
                self.parts.store.pause(&taken.batch.id);
            }
        }
    }

    /// Does what is next for a batch.
    fn go_on(&self, batch: &BatchRecord) -> Result<(), StoreError> {
        let RunnerParts { store, pace, keys, withdrawal, .. } = &self.parts;
        if matches!(batch.status, BatchStatus::Validating | BatchStatus::InProgress) {
            if !store.folder().contents(&batch.input_file_id).try_exists()? {
                return lose(store, batch);
            }
            match KeyState::of(batch, keys, *withdrawal) {
                KeyState::Valid => {}
                KeyState::Missing => {
                    store.pause(&batch.id);
                    return Ok(());
                }
                KeyState::Withdrawn => return withdraw(store, batch),
            }
        }
        match batch.status {
            BatchStatus::Validating => self.validate(batch),
            BatchStatus::InProgress if store.is_late(&batch.id) => expire(store, batch),
            BatchStatus::InProgress => self.run(batch),
            BatchStatus::Finalizing | BatchStatus::Cancelling => put_together(store, batch, pace.body_bytes),
            BatchStatus::Failed | BatchStatus::Completed | BatchStatus::Expired | BatchStatus::Cancelled => Ok(()),
        }
    }

    fn run(&self, batch: &BatchRecord) -> Result<(), StoreError> {
        self.running.fetch_add(1, Ordering::SeqCst);
        // The runtime may be gone once somebody has waited for the runs.
        let ran = match self.is_ending.load(Ordering::SeqCst) {
            true => Ok(()),
            false => run_requests(&self.parts, batch, &self.is_ending, &self.runtime),
        };
        self.running.fetch_sub(1, Ordering::SeqCst);
        ran
    }

    fn validate(&self, batch: &BatchRecord) -> Result<(), StoreError> {
        let RunnerParts { store, pace, .. } = &self.parts;
        let path = store.folder().contents(&batch.input_file_id);
        let bounds = FileBounds { requests: store.limits().lines, body_bytes: pace.body_bytes };
        let checked = check(&path, &batch.endpoint, bounds)?;
        store.update(&batch.id, |batch| {
            if batch.status != BatchStatus::Validating {
                return;
            }
            if checked.faults.is_empty() {
                batch.counts = RequestCounts { total: checked.requests, ..RequestCounts::default() };
                (batch.status, batch.in_progress_at) = (BatchStatus::InProgress, Some(now()));
            } else {
                (batch.status, batch.failed_at, batch.errors) = (BatchStatus::Failed, Some(now()), checked.faults);
            }
        })?;
        Ok(())
    }
}

/// Ends a batch whose time is over.
fn expire(store: &BatchStore, batch: &BatchRecord) -> Result<(), StoreError> {
    store.update(&batch.id, |batch| {
        if batch.status == BatchStatus::InProgress {
            let at = Some(now());
            (batch.status, batch.finalizing_at, batch.expired_at) = (BatchStatus::Finalizing, at, at);
        }
    })?;
    Ok(())
}
