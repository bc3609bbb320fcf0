//! Metrics of the whole server, whatever models it serves: connections, version, log and process.
//!
//! Connections are counted by `http_server`.

use prometheus::{IntGauge, Registry};

use super::families::Families;
use super::log_lines::LogLines;
use super::process_metrics::ProcessMetrics;
use super::trace_metrics::TraceMetrics;

/// Handles to the server's own metrics.
#[derive(Debug)]
pub struct ServerMetrics {
    /// Connections that are open.
    pub connections_open: IntGauge,
    /// Connections that may be open at once.
    pub connections_limit: IntGauge,
    /// Spans of traces.
    pub traces: TraceMetrics,
}

/// A connection that is counted as open until this is dropped.
#[derive(Debug)]
pub struct OpenConnection(IntGauge);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl ServerMetrics {
    /// Registers the metrics.
    pub(super) fn new(registry: &Registry) -> Self {
        let make = Families(registry);
        let version = make.gauges("encdec_build_info", "Always 1; the label tells the version.", &["version"]);
        version.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        make.add(Box::new(LogLines::new().expect("the name of the metric is valid")));
        make.add(Box::new(ProcessMetrics::new().expect("the names of process metrics are valid")));
        Self {
            connections_open: make.gauge("encdec_connections_open", "Connections that are open."),
            connections_limit: make.gauge("encdec_connections_limit", "Connections that may be open at once."),
            traces: TraceMetrics::new(registry),
        }
    }

    /// Counts a connection as open until the result is dropped.
    pub fn count_connection(&self) -> OpenConnection {
        self.connections_open.inc();
        OpenConnection(self.connections_open.clone())
    }
}
