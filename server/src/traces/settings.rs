//! Settings of traces.
//!
//! Read by `config`.

use std::time::Duration;

/// Where spans are sent, and how many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceSettings {
    /// Address of the collector, without the path `/v1/traces`.
    pub endpoint: String,
    /// Name of this service in traces.
    pub service_name: String,
    /// One in this many requests is traced, of those that come without a trace.
    pub sample: u32,
    /// Most spans that wait to be sent.
    pub queue_spans: usize,
    /// Longest time that the collector may take for a batch.
    pub timeout: Duration,
}
