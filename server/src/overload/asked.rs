//! A call, as far as it decides whether it enters the queue.

use std::time::Duration;

use crate::request::{Party, Priority};

/// A call, as far as it decides whether it enters.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    pub party: &'a Party,
    pub priority: Priority,
    pub rows: u32,
    pub row_units: u64,
    /// Tokens that each of its sequences turns out to have, probably.
    pub tokens: f64,
    /// Whether it needs rows, and not the encoder alone.
    pub has_target: bool,
    /// Whether its deadline is sooner than answers usually come.
    pub hurries: bool,
}

impl Asked<'_> {
    /// Units of all its sequences.
    pub const fn units(&self) -> u64 {
        self.row_units * self.rows as u64
    }
}

/// Times of a call.
#[derive(Clone, Copy)]
pub struct Times {
    /// The present.
    pub now: Duration,
    /// The least time that the answer takes once it has begun.
    pub least: Duration,
    /// Until its deadline.
    pub left: Option<Duration>,
}
