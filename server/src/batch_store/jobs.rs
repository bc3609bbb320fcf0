//! The store as the threads that run batches and take uploads see it: turns, counts, and room on the disk.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use super::batch_record::{BatchRecord, BatchStatus};
use super::error::StoreError;
use super::file_record::FileRecord;
use super::folder::Kind;
use super::state::Work;
use super::store::{BatchStore, now};

/// Time after which a batch that could not go on is tried again.
const PAUSE: Duration = Duration::from_secs(5);

/// A batch that a thread works on; no other thread does until this is dropped.
#[derive(Debug)]
pub struct Taken {
    store: BatchStore,
    /// The batch, as it was when it was taken.
    pub batch: BatchRecord,
}

impl Drop for Taken {
    fn drop(&mut self) {
        let mut state = self.store.lock();
        state.taken.remove(&self.batch.id);
        self.store.tell(state);
    }
}

impl BatchStore {
    /// A batch with such work; waits for one for at most so long.
    pub(super) fn take(&self, work: Work, patience: Duration) -> Option<Taken> {
        let mut state = self.lock();
        if state.next(work, now()).is_none() {
            state = self.changed().wait_timeout(state, patience).unwrap_or_else(PoisonError::into_inner).0;
        }
        let batch = state.next(work, now())?.clone();
        state.paused.remove(&batch.id);
        state.taken.insert(batch.id.clone(), batch.owner.clone());
        drop(state);
        Some(Taken { store: self.clone(), batch })
    }

    /// Leaves a batch alone for a while.
    pub(super) fn pause(&self, id: &str) {
        self.lock().paused.insert(id.to_owned(), Instant::now() + PAUSE);
    }

    /// Has all threads look again at what there is to do.
    pub(super) fn wake(&self) {
        drop(self.lock());
        self.changed().notify_all();
    }

    /// Status of a batch.
    pub(super) fn status(&self, id: &str) -> Option<BatchStatus> {
        self.lock().batches.get(id).map(|batch| batch.status)
    }

    /// Counts a request of a batch, in memory: the file of results has it on the disk.
    pub(super) fn count(&self, id: &str, succeeded: bool) {
        self.metrics().batches().count_request(succeeded);
        if let Some(batch) = self.lock().batches.get_mut(id) {
            *(if succeeded { &mut batch.counts.completed } else { &mut batch.counts.failed }) += 1;
        }
    }

    /// Notes how much room the results of a batch take.
    ///
    /// # Errors
    /// [`StoreError::NoRoom`] when all files and results take more than they may.
    pub(super) fn measure_results(&self, id: &str) -> Result<(), StoreError> {
        let bytes = std::fs::metadata(self.folder().results(id)).map_or(0, |metadata| metadata.len());
        let (mut state, limit) = (self.lock(), self.limits().total_bytes);
        state.set_results(id, bytes);
        if state.bytes > limit { Err(StoreError::NoRoom { limit }) } else { Ok(()) }
    }

    /// Deletes what is too old, and the oldest finished batches where there are too many. What the disk keeps is tried
    /// again the next time.
    pub(super) fn forget_old(&self) {
        let (now, limits) = (now(), self.limits());
        let mut state = self.lock();
        let mut finished: Vec<_> =
            state.batches.values().filter_map(|batch| Some((batch.ended_at()?, batch.id.clone()))).collect();
        finished.sort();
        let too_many = finished.len().saturating_sub(limits.files);
        let is_old = |ended: u64| ended.saturating_add(limits.keep.as_secs()) <= now;
        let old = finished.into_iter().enumerate().filter(|(place, (ended, _))| *place < too_many || is_old(*ended));
        let mut is_changed = false;
        for (_, (_, id)) in old {
            if self.folder().remove(Kind::Batch, &id).is_ok() {
                is_changed |= state.batches.remove(&id).is_some();
            }
        }
        let is_over = |file: &&FileRecord| file.expires_at <= now && state.user_of(&file.id).is_none();
        let files: Vec<_> = state.files.values().filter(is_over).cloned().collect();
        for file in files {
            if self.folder().remove(Kind::File, &file.id).is_ok() {
                state.files.remove(&file.id);
                state.bytes = state.bytes.saturating_sub(file.bytes);
                is_changed = true;
            }
        }
        if is_changed {
            self.tell(state);
        }
    }

    /// Takes a place for a file.
    pub(super) fn begin_upload(&self) -> Result<(), StoreError> {
        let (mut state, limit) = (self.lock(), self.limits().files);
        if state.files.len() + state.uploads >= limit {
            return Err(StoreError::TooManyFiles { limit });
        }
        state.uploads += 1;
        Ok(())
    }

    /// Gives the place back.
    pub(super) fn end_upload(&self) {
        self.lock().uploads -= 1;
    }

    /// Takes room for bytes of uploads.
    pub(super) fn take_room(&self, bytes: u64) -> Result<(), StoreError> {
        let (mut state, limit) = (self.lock(), self.limits().total_bytes);
        if state.bytes.saturating_add(bytes) > limit {
            return Err(StoreError::NoRoom { limit });
        }
        state.bytes += bytes;
        Ok(())
    }

    /// Gives room back.
    pub(super) fn give_room(&self, bytes: u64) {
        let mut state = self.lock();
        state.bytes = state.bytes.saturating_sub(bytes);
    }

    /// Keeps an uploaded file whose contents are there, and whose room was taken.
    pub(super) fn keep_upload(&self, file: &FileRecord) -> Result<(), StoreError> {
        self.folder().write(Kind::File, &file.id, file)?;
        let mut state = self.lock();
        state.files.insert(file.id.clone(), file.clone());
        self.tell(state);
        Ok(())
    }

    /// Keeps a file of results whose contents are there. It may be there already, when the process ended in between.
    pub(super) fn keep_result(&self, file: &FileRecord) -> Result<(), StoreError> {
        self.folder().write(Kind::File, &file.id, file)?;
        let mut state = self.lock();
        let before = state.files.insert(file.id.clone(), file.clone());
        state.bytes = (state.bytes + file.bytes).saturating_sub(before.map_or(0, |file| file.bytes));
        self.tell(state);
        Ok(())
    }
}
