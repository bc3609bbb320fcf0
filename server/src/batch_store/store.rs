//! All files and batches: records in memory, each of which is on the disk before it is told.
//!
//! Asked by `api`. What threads that run batches need of it is in `jobs`. Most methods wait for the disk.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::batch_record::{BatchRecord, BatchStatus};
use super::clock::{Clock, now};
use super::error::StoreError;
use super::file_record::{FileRecord, REQUESTS};
use super::folder::{Folder, Kind, remove};
use super::share::Bounds;
use super::state::State;
use crate::telemetry::Metrics;

/// Bounds of what is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreLimits {
    /// Bytes of a file.
    pub file_bytes: u64,
    /// Bytes of all files and results; at least `file_bytes`.
    pub total_bytes: u64,
    /// Requests in a file.
    pub lines: u64,
    /// Files.
    pub files: usize,
    /// Batches that are not finished.
    pub unfinished: usize,
    /// Part of `total_bytes`, `files` and `unfinished` that one key may use, in percent.
    pub key_percent: u64,
    /// Age at which files and finished batches are deleted.
    pub keep: Duration,
}

impl StoreLimits {
    /// Bounds of what `all` is allowed of together, for one owner.
    pub(super) fn bounds(&self, owner: &Owner, all: u64) -> Bounds {
        let of_key = (all.saturating_mul(self.key_percent) / 100).max(1);
        Bounds { all, of_key: owner.0.is_some().then_some(of_key) }
    }
}

/// Whose a file or a batch is: the name of a key, where there are keys.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Owner(pub Option<String>);

/// A batch that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewBatch {
    /// File of its requests.
    pub input_file_id: String,
    /// The route that they name.
    pub endpoint: String,
    /// Time that it is given, as the client wrote it.
    pub completion_window: String,
    /// Seconds of that time.
    pub window_s: u64,
    /// Names and values of the client's own.
    pub metadata: Option<BTreeMap<String, String>>,
    /// Seconds for which its results are kept, if the client wants them to be kept for a shorter time.
    pub output_s: Option<u64>,
}

/// Files and batches. Clones are the same.
#[derive(Debug, Clone)]
pub struct BatchStore(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    folder: Folder,
    limits: StoreLimits,
    metrics: Metrics,
    clock: Clock,
    state: Mutex<State>,
    changed: Condvar,
}

impl BatchStore {
    /// Takes a folder, with what an earlier process left there.
    ///
    /// # Errors
    /// When the folder cannot be had or holds a record that cannot be read.
    pub fn open(folder: &Path, limits: StoreLimits, metrics: Metrics) -> io::Result<Self> {
        let folder = Folder::open(folder)?;
        let files: Vec<FileRecord> = folder.read(Kind::File)?;
        let batches: Vec<BatchRecord> = folder.read(Kind::Batch)?;
        let mut state = State::default();
        for file in files {
            state.due.insert(file.id.clone(), file.expires_at);
            state.take_bytes(&Owner(file.owner.clone()), file.bytes);
            state.files.insert(file.id.clone(), file);
        }
        for batch in batches {
            let results = folder.results(&batch.id);
            let deleted_at = batch.ended_at().map(|ended| ended.saturating_add(limits.keep.as_secs()));
            state.due.insert(batch.id.clone(), deleted_at.unwrap_or(batch.expires_at));
            let (id, is_open) = (batch.id.clone(), batch.status.is_open());
            state.batches.insert(batch.id.clone(), batch);
            if !is_open {
                // They were put together just before an earlier process ended.
                remove(&results)?;
            } else if let Ok(metadata) = std::fs::metadata(results) {
                state.set_results(&id, metadata.len());
            }
        }
        state.show(metrics.batches());
        let (clock, state, changed) = (Clock::start(), Mutex::new(state), Condvar::new());
        Ok(Self(Arc::new(Shared { folder, limits, metrics, clock, state, changed })))
    }

    /// The bounds.
    pub fn limits(&self) -> StoreLimits {
        self.0.limits
    }

    /// Files of an owner, the latest first.
    pub fn files(&self, owner: &Owner) -> Vec<FileRecord> {
        let mut files: Vec<_> = self.lock().files.values().filter(|file| file.owner == owner.0).cloned().collect();
        files.sort_by(|a, b| (b.created_at, &b.id).cmp(&(a.created_at, &a.id)));
        files
    }

    /// A file of an owner.
    ///
    /// # Errors
    /// [`StoreError::NoFile`].
    pub fn file(&self, owner: &Owner, id: &str) -> Result<FileRecord, StoreError> {
        find_file(&self.lock(), owner, id)
    }

    /// The contents of a file of an owner, and its record.
    ///
    /// # Errors
    /// [`StoreError::NoFile`], or the system's answer.
    pub fn contents(&self, owner: &Owner, id: &str) -> Result<(FileRecord, File), StoreError> {
        let file = self.file(owner, id)?;
        Ok((file, File::open(self.folder().contents(id))?))
    }

    /// Deletes a file of an owner.
    ///
    /// # Errors
    /// When there is none, or a batch needs it.
    pub fn delete(&self, owner: &Owner, id: &str) -> Result<(), StoreError> {
        let mut state = self.lock();
        let file = find_file(&state, owner, id)?;
        if let Some(batch) = state.user_of(id) {
            return Err(StoreError::InUse { id: id.to_owned(), batch: batch.id.clone() });
        }
        self.folder().remove(Kind::File, id)?;
        state.forget_file(&file);
        self.tell(state);
        Ok(())
    }

    /// Takes a batch, which is run when its turn has come.
    ///
    /// # Errors
    /// When there is no such file, or too many batches are not finished.
    pub fn create(&self, owner: &Owner, asked: NewBatch) -> Result<BatchRecord, StoreError> {
        let NewBatch { input_file_id, endpoint, completion_window, window_s, metadata, output_s } = asked;
        let mut state = self.lock();
        let file = find_file(&state, owner, &input_file_id)?;
        if file.purpose != REQUESTS {
            return Err(StoreError::NoRequests { id: input_file_id });
        }
        let bounds = self.limits().bounds(owner, self.limits().unfinished as u64);
        let is_owners = |batch: &&BatchRecord| batch.status.is_open() && batch.owner == owner.0;
        let of_owner = state.batches.values().filter(is_owners).count();
        if let Some(bound) = bounds.exceeded(1 + state.unfinished() as u64, 1 + of_owner as u64) {
            return Err(StoreError::TooManyBatches { bound });
        }
        let created_at = now();
        let batch = BatchRecord {
            id: self.new_id("batch_"),
            endpoint,
            input_file_id,
            completion_window,
            metadata,
            output_s,
            created_at,
            expires_at: created_at.saturating_add(window_s),
            owner: owner.0.clone(),
            ..BatchRecord::default()
        };
        self.folder().write(Kind::Batch, &batch.id, &batch)?;
        state.due.insert(batch.id.clone(), self.seconds().saturating_add(window_s));
        state.batches.insert(batch.id.clone(), batch.clone());
        self.tell(state);
        Ok(batch)
    }

    /// A batch of an owner.
    ///
    /// # Errors
    /// [`StoreError::NoBatch`].
    pub fn batch(&self, owner: &Owner, id: &str) -> Result<BatchRecord, StoreError> {
        let batch = self.lock().batches.get(id).filter(|batch| batch.owner == owner.0).cloned();
        batch.ok_or_else(|| StoreError::NoBatch { id: id.to_owned() })
    }

    /// Batches of an owner, the latest first.
    pub fn batches(&self, owner: &Owner) -> Vec<BatchRecord> {
        let mut all: Vec<_> = self.lock().batches.values().filter(|batch| batch.owner == owner.0).cloned().collect();
        all.sort_by(|a, b| (b.created_at, &b.id).cmp(&(a.created_at, &a.id)));
        all
    }

    /// Asks a batch of an owner to end.
    ///
    /// # Errors
    /// When there is none, or its end has come.
    pub fn cancel(&self, owner: &Owner, id: &str) -> Result<BatchRecord, StoreError> {
        self.batch(owner, id)?;
        let mut refused = None;
        let batch = self.update(id, |batch| match batch.status {
            BatchStatus::Validating | BatchStatus::InProgress => {
                (batch.status, batch.cancelling_at) = (BatchStatus::Cancelling, Some(now()));
            }
            BatchStatus::Cancelling => {}
            status => refused = Some(StoreError::NotCancellable { id: id.to_owned(), status: status.name() }),
        })?;
        refused.map_or(Ok(batch), Err)
    }

    /// Changes a batch, on the disk first.
    pub(super) fn update(&self, id: &str, change: impl FnOnce(&mut BatchRecord)) -> Result<BatchRecord, StoreError> {
        let mut state = self.lock();
        let batch = state.batches.get_mut(id).ok_or_else(|| StoreError::NoBatch { id: id.to_owned() })?;
        let mut changed = batch.clone();
        change(&mut changed);
        if changed != *batch {
            self.folder().write(Kind::Batch, id, &changed)?;
            let has_ended = batch.status.is_open() && !changed.status.is_open();
            batch.clone_from(&changed);
            if has_ended {
                let deleted_at = self.seconds().saturating_add(self.limits().keep.as_secs());
                state.due.insert(id.to_owned(), deleted_at);
            }
            self.tell(state);
        }
        Ok(changed)
    }

    pub(super) fn folder(&self) -> &Folder {
        &self.0.folder
    }

    /// Seconds since 1970 by the clock that decides about time limits.
    pub(super) fn seconds(&self) -> u64 {
        self.0.clock.seconds()
    }

    /// Whether the time of a batch is over.
    pub(super) fn is_late(&self, id: &str) -> bool {
        self.lock().is_due(id, self.seconds())
    }

    pub(super) fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    pub(super) fn changed(&self) -> &Condvar {
        &self.0.changed
    }

    /// An id that nothing has.
    pub(super) fn new_id(&self, prefix: &str) -> String {
        let random = || getrandom::u64().expect("the system has a source of randomness");
        format!("{prefix}{:016x}{:016x}", random(), random())
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that is done under this lock can be left half done.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets everybody see a change.
    pub(super) fn tell(&self, state: MutexGuard<'_, State>) {
        state.show(self.0.metrics.batches());
        drop(state);
        self.0.changed.notify_all();
    }
}

fn find_file(state: &State, owner: &Owner, id: &str) -> Result<FileRecord, StoreError> {
    let file = state.files.get(id).filter(|file| file.owner == owner.0).cloned();
    file.ok_or_else(|| StoreError::NoFile { id: id.to_owned() })
}
