//! The clocks of the store: the wall clock, which records tell, and one that counts the seconds that pass.
//!
//! Kept by `store`. Ages and time limits are measured by the second one, so that setting the wall clock, by hand or by
//! a time server, ends no batch and deletes no file.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Counts the seconds that pass, from the wall clock's time at its start on.
#[derive(Debug)]
pub struct Clock {
    start: Instant,
    start_s: u64,
}

impl Clock {
    /// A clock that starts now.
    pub fn start() -> Self {
        Self { start: Instant::now(), start_s: now() }
    }

    /// Seconds since 1970, if the wall clock had not been set since the start.
    pub fn seconds(&self) -> u64 {
        self.start_s.saturating_add(self.start.elapsed().as_secs())
    }
}

/// Seconds since 1970 by the wall clock.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
