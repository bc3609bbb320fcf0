//! The access log's sampling: which requests get a line.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::telemetry::Outcome;

/// Which requests get a line.
#[derive(Debug, Clone, Default)]
pub struct AccessLog {
    /// One in so many completed requests gets a line, and every other request; 0 turns the log off.
    sample: u64,
    seen: Arc<AtomicU64>,
}

impl AccessLog {
    /// Writes no line.
    pub fn off() -> Self {
        Self::default()
    }

    /// Writes a line for one in `sample` requests, and for every one that was not answered as asked.
    pub fn one_in(sample: u32) -> Self {
        Self { sample: sample.max(1).into(), seen: Arc::default() }
    }

    /// Whether a request with this outcome gets a line.
    pub(super) fn wants(&self, outcome: Outcome) -> bool {
        self.sample > 0
            && (outcome != Outcome::Completed || self.seen.fetch_add(1, Ordering::Relaxed).is_multiple_of(self.sample))
    }
}
