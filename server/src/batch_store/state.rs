//! Records of files and batches in memory, and the room that they take.
//!
//! Kept by `store` under one lock.

use std::collections::BTreeMap;
use std::time::Instant;

use super::batch_record::{BatchRecord, BatchStatus};
use super::file_record::FileRecord;
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
    /// Bytes of all files and results, those on their way in included.
    pub bytes: u64,
    /// Files that are being uploaded.
    pub uploads: usize,
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
    pub fn next(&self, work: Work, now: u64) -> Option<&BatchRecord> {
        let is_due = |batch: &&BatchRecord| {
            let wanted = match batch.status {
                BatchStatus::InProgress if !batch.is_late(now) => work == Work::Run,
                status => work == Work::Errand && status.is_open(),
            };
            let is_paused = || self.paused.get(&batch.id).is_some_and(|until| *until > Instant::now());
            wanted && !self.taken.contains_key(&batch.id) && !is_paused()
        };
        let of_owner = |owner: &Option<String>| self.taken.values().filter(|other| *other == owner).count();
        let order = |batch: &&BatchRecord| (of_owner(&batch.owner), batch.created_at, batch.id.clone());
        self.batches.values().filter(is_due).min_by_key(order)
    }

    /// Sets the bytes of a batch's results.
    pub fn set_results(&mut self, id: &str, bytes: u64) {
        let before = self.results.insert(id.to_owned(), bytes).unwrap_or_default();
        self.bytes = (self.bytes + bytes).saturating_sub(before);
    }

    /// Forgets the results of a batch, which were put together.
    pub fn drop_results(&mut self, id: &str) {
        self.bytes = self.bytes.saturating_sub(self.results.remove(id).unwrap_or_default());
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
