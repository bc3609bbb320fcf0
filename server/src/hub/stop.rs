//! Whether a fetch goes on: what fails for one file ends the others, whose threads may be waiting.
//!
//! Shared by all threads of a fetch.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Set once.
#[derive(Debug, Default)]
pub struct Stop {
    is_set: Mutex<bool>,
    changed: Condvar,
}

impl Stop {
    /// Ends the waiting of all threads, and the work of those that ask.
    pub fn set(&self) {
        *self.lock() = true;
        self.changed.notify_all();
    }

    /// Whether it is set.
    pub fn is_set(&self) -> bool {
        *self.lock()
    }

    /// Sleeps until it is set, at most for `time`.
    pub fn sleep(&self, time: Duration) {
        let end = Instant::now() + time;
        let mut is_set = self.lock();
        while !*is_set {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            is_set = self.changed.wait_timeout(is_set, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn lock(&self) -> MutexGuard<'_, bool> {
        self.is_set.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
