//! Records of files and batches in memory, and the room that they take.
//!
//! Kept by `store` under one lock.

use std::collections::BTreeMap;
use std::time::Instant;

use super::batch_record::{BatchRecord, BatchStatus};
use super::file_record::FileRecord;
use super::store::Owner;
use crate::telemetry::BatchMetrics;

/// All records.
#[derive(Debug, Default)]
pub struct State {
    /// Files by their ids.
    pub files: BTreeMap<String, FileRecord>,
    /// Batches by their ids.
    pub batches: BTreeMap<String, BatchRecord>,
    /// Batches that a thread works on, with their owners.
    pub taken: BTreeMap<String, Option<String>>,
    /// Batches that cannot go on for now, and when that is tried again.
    pub paused: BTreeMap<String, Instant>,
    /// Bytes of results that are not put together yet, by batch.
    pub results: BTreeMap<String, u64>,
    /// When the time of an unfinished batch is over, and when anything else is deleted, by id. In seconds of the
    /// store's clock.
    pub due: BTreeMap<String, u64>,
    /// Bytes of all files and results, those on their way in included.
    pub bytes: u64,
    /// The bytes of each owner.
    pub owned_bytes: BTreeMap<Owner, u64>,
    /// Owners of files that are being uploaded.
    pub uploads: Vec<Owner>,
}

/// Work that a thread looks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Requests that are to be run.
    Run,
    /// Whatever is done quickly: checking files, putting results together.
    Errand,
}

impl State {
    /// Number of batches that are not finished.
    pub fn unfinished(&self) -> usize {
        self.batches.values().filter(|batch| batch.status.is_open()).count()
    }

    /// The batch with which a thread goes on: the oldest one, of the owner with the fewest that are worked on.
    pub fn next(&self, work: Work, seconds: u64) -> Option<&BatchRecord> {
        let is_due = |batch: &&BatchRecord| {
            let wanted = match batch.status {
                BatchStatus::InProgress if !self.is_due(&batch.id, seconds) => work == Work::Run,
                status => work == Work::Errand && status.is_open(),
            };
            let is_paused = || self.paused.get(&batch.id).is_some_and(|until| *until > Instant::now());
            wanted && !self.taken.contains_key(&batch.id) && !is_paused()
        };
        let of_owner = |owner: &Option<String>| self.taken.values().filter(|other| *other == owner).count();
        let order = |batch: &&BatchRecord| (of_owner(&batch.owner), batch.created_at, batch.id.clone());
        self.batches.values().filter(is_due).min_by_key(order)
    }

    /// Whether the time of a batch or a file is over.
    pub fn is_due(&self, id: &str, seconds: u64) -> bool {
        self.due.get(id).is_some_and(|due| *due <= seconds)
    }

    /// Counts bytes of an owner.
    pub fn take_bytes(&mut self, owner: &Owner, bytes: u64) {
        self.bytes += bytes;
        *self.owned_bytes.entry(owner.clone()).or_default() += bytes;
    }

    /// Counts bytes of an owner no longer.
    pub fn give_bytes(&mut self, owner: &Owner, bytes: u64) {
        self.bytes = self.bytes.saturating_sub(bytes);
        if let Some(owned) = self.owned_bytes.get_mut(owner) {
            *owned = owned.saturating_sub(bytes);
            if *owned == 0 {
                self.owned_bytes.remove(owner);
            }
        }
    }

    /// Bytes of an owner.
    pub fn bytes_of(&self, owner: &Owner) -> u64 {
        self.owned_bytes.get(owner).copied().unwrap_or_default()
    }

    /// Forgets a file that is deleted.
    pub fn forget_file(&mut self, file: &FileRecord) {
        self.files.remove(&file.id);
        self.due.remove(&file.id);
        self.give_bytes(&Owner(file.owner.clone()), file.bytes);
    }

    /// Sets the bytes of a batch's results.
    pub fn set_results(&mut self, id: &str, bytes: u64) {
        let owner = self.owner_of(id);
        let before = self.results.insert(id.to_owned(), bytes).unwrap_or_default();
        self.take_bytes(&owner, bytes);
        self.give_bytes(&owner, before);
    }

    /// Forgets the results of a batch, which were put together.
    pub fn drop_results(&mut self, id: &str) {
        let bytes = self.results.remove(id).unwrap_or_default();
        self.give_bytes(&self.owner_of(id), bytes);
    }

    fn owner_of(&self, batch: &str) -> Owner {
        Owner(self.batches.get(batch).and_then(|batch| batch.owner.clone()))
    }

    /// The unfinished batch that needs a file, if there is one.
    pub fn user_of(&self, file: &str) -> Option<&BatchRecord> {
        self.batches.values().find(|batch| batch.status.is_open() && batch.input_file_id == file)
    }

    /// Sets the metrics.
    pub fn show(&self, metrics: &BatchMetrics) {
        metrics.files.set(self.files.len() as i64);
        metrics.file_bytes.set(self.bytes as i64);
        for status in BatchStatus::OPEN {
            let count = self.batches.values().filter(|batch| batch.status == status).count();
            metrics.unfinished(status.name(), count);
        }
    }
}
