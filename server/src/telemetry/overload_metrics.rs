//! Metrics of overload: what the gate before an engine's queue expects, and the requests that it shed.
//!
//! Set by the engine after each step.

use prometheus::{Gauge, GaugeVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry};

use super::families::{Families, MODEL};
use crate::request::ShedReason;

/// Handles to one engine's metrics of overload.
#[derive(Debug)]
pub struct OverloadMetrics {
    /// Expected wait of a newcomer.
    pub expected_wait_seconds: Gauge,
    /// Work in a second of full steps.
    pub service_rate: Gauge,
    /// Whether the queue is kept short.
    pub overloaded: IntGauge,
    /// Rows that may run at once in a flood; 0 while all may.
    pub row_limit: IntGauge,
    /// Calls that were shed, in the order of [`ShedReason::NAMES`].
    pub shed: [IntCounter; ShedReason::NAMES.len()],
}

/// Metrics of overload of all engines.
#[derive(Debug)]
pub(super) struct OverloadFamilies {
    expected_wait: GaugeVec,
    service_rate: GaugeVec,
    overloaded: IntGaugeVec,
    row_limit: IntGaugeVec,
    shed: IntCounterVec,
}

impl OverloadFamilies {
    /// Registers the metrics, without any model yet.
    pub fn new(registry: &Registry) -> Self {
        let make = Families(registry);
        let wait = "Expected wait of a new interactive request for its first row.";
        let rate =
            "Work in a second of steps that leave some waiting, in source tokens; a target token is five of them.";
        let overloaded = "1 while requests are refused for overload and the queue is kept short.";
        let row_limit = "Rows that may run at once in a flood, as more would make answers slower for nothing; else 0.";
        let shed = "Requests that were refused, or taken from the queue, before any work was done for them, by why.";
        Self {
            expected_wait: make.ratios("encdec_expected_wait_seconds", wait),
            service_rate: make.ratios("encdec_service_tokens_per_second", rate),
            overloaded: make.gauges("encdec_overloaded", overloaded, &[MODEL]),
            row_limit: make.gauges("encdec_row_limit", row_limit, &[MODEL]),
            shed: make.counters("encdec_shed_requests_total", shed, &["reason", MODEL]),
        }
    }

    /// The handles of one model's engine; the same ones for the same name.
    pub fn of_model(&self, model: &str) -> OverloadMetrics {
        let labels = &[model];
        OverloadMetrics {
            expected_wait_seconds: self.expected_wait.with_label_values(labels),
            service_rate: self.service_rate.with_label_values(labels),
            overloaded: self.overloaded.with_label_values(labels),
            row_limit: self.row_limit.with_label_values(labels),
            shed: ShedReason::NAMES.map(|reason| self.shed.with_label_values(&[reason, model])),
        }
    }
}
