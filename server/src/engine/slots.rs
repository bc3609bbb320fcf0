//! Places in the engine's queue: taken by a call before its costly work, given back as its sequences start.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

use crate::request::{Caller, Priority};

/// Places of one call in the engine's queue.
#[derive(Debug)]
pub struct Slots {
    permit: OwnedSemaphorePermit,
    caller: Caller,
}

impl Slots {
    /// Takes `rows` of these places out; `None` when fewer are left.
    pub fn split(&mut self, rows: u32) -> Option<Self> {
        Some(Self { permit: self.permit.split(rows as usize)?, caller: self.caller.clone() })
    }

    /// Takes all of these places out.
    pub fn take(&mut self) -> Self {
        let all = self.permit.num_permits();
        let permit = self.permit.split(all).expect("as many places are split as there are");
        Self { permit, caller: self.caller.clone() }
    }

    /// Places for so many requests, `rows` for each. Those that are left over are given back with the iterator.
    ///
    /// # Panics
    /// The iterator panics when there are too few.
    pub fn divide(mut self, requests: usize, rows: u32) -> impl Iterator<Item = Self> {
        (0..requests).map(move |_| self.split(rows).expect("places for all requests were reserved"))
    }

    /// The caller whose requests take these places.
    pub const fn caller(&self) -> &Caller {
        &self.caller
    }
}

/// All places of the queue: as many for each priority, so that idle calls take none from interactive ones.
#[derive(Debug, Clone)]
pub(super) struct QueueSlots {
    free: [Arc<Semaphore>; Priority::ALL.len()],
    total: u32,
}

impl QueueSlots {
    /// A queue of `total` free places.
    pub fn new(total: u32) -> Self {
        Self { free: Priority::ALL.map(|_| Arc::new(Semaphore::new(total as usize))), total }
    }

    /// Takes `rows` places; `None` when fewer are free.
    pub fn take(&self, caller: Caller, rows: u32) -> Option<Slots> {
        let permit = Arc::clone(&self.free[caller.priority.index()]).try_acquire_many_owned(rows).ok()?;
        Some(Slots { permit, caller })
    }

    /// Number of free places for interactive calls.
    pub fn free(&self) -> usize {
        self.free[Priority::Interactive.index()].available_permits()
    }

    /// Number of places of a priority, free or not.
    pub const fn total(&self) -> u32 {
        self.total
    }

    /// Takes every place away for good, unless a call has one. After success no request is on its way to the engine,
    /// and none will be.
    pub fn close(&self) -> bool {
        let all: Option<Vec<_>> = self.free.iter().map(|free| free.try_acquire_many(self.total).ok()).collect();
        all.map(|all| all.into_iter().for_each(SemaphorePermit::forget)).is_some()
    }
}
