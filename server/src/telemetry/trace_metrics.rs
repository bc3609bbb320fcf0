//! Metrics of traces: what became of their spans.
//!
//! Counted by `traces`.

use prometheus::{IntCounter, Registry};

use super::families::Families;

/// Handles to the counts of spans.
#[derive(Debug, Clone)]
pub struct TraceMetrics {
    /// Spans that the collector took.
    pub sent: IntCounter,
    /// Spans that it did not take.
    pub failed: IntCounter,
    /// Spans for which the queue had no room.
    pub dropped: IntCounter,
}

impl TraceMetrics {
    /// Registers the metrics.
    pub(super) fn new(registry: &Registry) -> Self {
        let help = "Spans of traces, by what became of them.";
        let spans = Families(registry).counters("encdec_trace_spans_total", help, &["outcome"]);
        let [sent, failed, dropped] = ["sent", "failed", "dropped"].map(|outcome| spans.with_label_values(&[outcome]));
        Self { sent, failed, dropped }
    }
}
