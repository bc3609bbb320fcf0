//! The store as the threads that run batches and take uploads see it: turns, counts, and room on the disk.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use super::batch_record::{BatchRecord, BatchStatus};
use super::error::StoreError;
use super::file_record::FileRecord;
use super::folder::Kind;
use super::share::Bound;
use super::state::Work;
use super::store::{BatchStore, Owner};

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
        if state.next(work, self.seconds()).is_none() {
            state = self.changed().wait_timeout(state, patience).unwrap_or_else(PoisonError::into_inner).0;
        }
        let batch = state.next(work, self.seconds())?.clone();
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
        let mut state = self.lock();
        state.set_results(id, bytes);
        // What a key was let begin is not held up by the key's own bound.
        let most = self.limits().total_bytes;
        if state.bytes > most { Err(StoreError::NoRoom { bound: Bound::All(most) }) } else { Ok(()) }
    }

    /// Deletes what is too old, and the oldest finished batches where there are too many. What the disk keeps is tried
    /// again the next time.
    pub(super) fn forget_old(&self) {
        let (seconds, limits) = (self.seconds(), self.limits());
        let mut state = self.lock();
        let mut finished: Vec<_> =
            state.batches.values().filter_map(|batch| Some((batch.ended_at()?, batch.id.clone()))).collect();
        // By the store's own clock: the system's may have been set back since.
        finished.sort_by_key(|(ended_at, id)| (state.due.get(id).copied().unwrap_or(0), *ended_at));
        let too_many = finished.len().saturating_sub(limits.files);
        let is_old = |(place, (_, id)): &(usize, (u64, String))| *place < too_many || state.is_due(id, seconds);
        let old: Vec<_> = finished.into_iter().enumerate().filter(is_old).map(|(_, (_, id))| id).collect();
        let mut is_changed = false;
        for id in old {
            if self.folder().remove(Kind::Batch, &id).is_ok() {
                is_changed |= state.batches.remove(&id).is_some();
                state.due.remove(&id);
            }
        }
        let is_over = |file: &&FileRecord| state.is_due(&file.id, seconds) && state.user_of(&file.id).is_none();
        let files: Vec<_> = state.files.values().filter(is_over).cloned().collect();
        for file in files {
            if self.folder().remove(Kind::File, &file.id).is_ok() {
                state.forget_file(&file);
                is_changed = true;
            }
        }
        if is_changed {
            self.tell(state);
        }
    }

    /// Takes a place for a file.
    pub(super) fn begin_upload(&self, owner: &Owner) -> Result<(), StoreError> {
        let (mut state, bounds) = (self.lock(), self.limits().bounds(owner, self.limits().files as u64));
        let all = state.files.len() + state.uploads.len();
        let of_owner = state.files.values().filter(|file| file.owner == owner.0).count()
            + state.uploads.iter().filter(|other| *other == owner).count();
        if let Some(bound) = bounds.exceeded(1 + all as u64, 1 + of_owner as u64) {
            return Err(StoreError::TooManyFiles { bound });
        }
        state.uploads.push(owner.clone());
        Ok(())
    }

    /// Gives the place back.
    pub(super) fn end_upload(&self, owner: &Owner) {
        let mut state = self.lock();
        let place = state.uploads.iter().position(|other| other == owner);
        place.map(|place| state.uploads.swap_remove(place));
    }

    /// Takes room for bytes of uploads.
    pub(super) fn take_room(&self, owner: &Owner, bytes: u64) -> Result<(), StoreError> {
        let (mut state, bounds) = (self.lock(), self.limits().bounds(owner, self.limits().total_bytes));
        let [all, of_owner] = [state.bytes, state.bytes_of(owner)].map(|taken| taken.saturating_add(bytes));
        if let Some(bound) = bounds.exceeded(all, of_owner) {
            return Err(StoreError::NoRoom { bound });
        }
        state.take_bytes(owner, bytes);
        Ok(())
    }

    /// Gives room back.
    pub(super) fn give_room(&self, owner: &Owner, bytes: u64) {
        self.lock().give_bytes(owner, bytes);
    }

    /// Keeps an uploaded file whose contents are there, and whose room was taken.
    pub(super) fn keep_upload(&self, file: &FileRecord) -> Result<(), StoreError> {
        self.folder().write(Kind::File, &file.id, file)?;
        let mut state = self.lock();
        state.due.insert(file.id.clone(), self.deleted_at(file));
        state.files.insert(file.id.clone(), file.clone());
        self.tell(state);
        Ok(())
    }

    /// Keeps a file of results whose contents are there. It may be there already, when the process ended in between.
    pub(super) fn keep_result(&self, file: &FileRecord) -> Result<(), StoreError> {
        self.folder().write(Kind::File, &file.id, file)?;
        let mut state = self.lock();
        let before = state.files.insert(file.id.clone(), file.clone());
        let owner = Owner(file.owner.clone());
        state.due.insert(file.id.clone(), self.deleted_at(file));
        state.take_bytes(&owner, file.bytes);
        state.give_bytes(&owner, before.map_or(0, |file| file.bytes));
        self.tell(state);
        Ok(())
    }

    /// When a file that was just made is deleted, by the store's clock.
    fn deleted_at(&self, file: &FileRecord) -> u64 {
        self.seconds().saturating_add(file.expires_at.saturating_sub(file.created_at))
    }
}
