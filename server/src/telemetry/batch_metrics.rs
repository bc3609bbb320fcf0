//! Metrics of the batches that the server keeps, and of the files.
//!
//! Set by `batch_store`.

use prometheus::{IntCounterVec, IntGauge, IntGaugeVec, Registry};

use super::families::Families;

/// Values of the label `status`.
const STATUSES: [&str; 4] = ["validating", "in_progress", "finalizing", "cancelling"];
/// Values of the label `outcome`.
const OUTCOMES: [&str; 2] = ["completed", "failed"];

/// Handles to the metrics of batches and files.
#[derive(Debug)]
pub struct BatchMetrics {
    /// Files that are kept.
    pub files: IntGauge,
    /// Bytes of files and results.
    pub file_bytes: IntGauge,
    unfinished: IntGaugeVec,
    requests: IntCounterVec,
}

impl BatchMetrics {
    /// Registers the metrics.
    pub(super) fn new(registry: &Registry) -> Self {
        let make = Families(registry);
        let (files, file_bytes) = ("Files that are kept.", "Bytes of files and of results of batches.");
        let (unfinished, requests) =
            ("Batches that are not finished.", "Requests of batches that have a result, by how they ended.");
        let metrics = Self {
            files: make.gauge("encdec_batch_files", files),
            file_bytes: make.gauge("encdec_batch_file_bytes", file_bytes),
            unfinished: make.gauges("encdec_batches", unfinished, &["status"]),
            requests: make.counters("encdec_batch_requests_total", requests, &["outcome"]),
        };
        STATUSES.iter().for_each(|status| metrics.unfinished(status, 0));
        OUTCOMES.iter().for_each(|outcome| _ = metrics.requests.with_label_values(&[*outcome]));
        metrics
    }

    /// Sets the number of unfinished batches with a status.
    pub fn unfinished(&self, status: &str, count: usize) {
        self.unfinished.with_label_values(&[status]).set(count as i64);
    }

    /// Counts a request that has a result.
    pub fn count_request(&self, succeeded: bool) {
        self.requests.with_label_values(&[OUTCOMES[usize::from(!succeeded)]]).inc();
    }
}
