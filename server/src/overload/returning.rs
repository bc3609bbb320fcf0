//! Calls that were told to come back: each after those before it.

use std::time::Duration;

use crate::request::Shed;

/// Nobody is told to come back later than that: it is a guess, and others may leave.
const LATEST: Duration = Duration::from_secs(30);

/// Calls that were told to come back and are not due yet.
#[derive(Debug, Clone, Copy, Default)]
pub struct Returning {
    units: f64,
    /// When they were so many.
    at: Duration,
}

impl Returning {
    /// Adds a call of so many units, and returns the time after which it may be taken: what `waits`, and what was told
    /// to come back before it, is done by then at this pace, in units a second.
    pub fn add(&mut self, units: u64, waits: u64, pace: f64, now: Duration) -> Duration {
        let due = now.saturating_sub(self.at).as_secs_f64() * pace;
        let returning = (self.units - due).max(0.0) + units as f64;
        *self = Self { units: returning.min(LATEST.as_secs_f64() * pace), at: now };
        Duration::from_secs_f64((self.units + waits as f64) / pace).clamp(Shed::RETRY, LATEST)
    }
}
