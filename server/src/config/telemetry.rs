//! The settings under `[telemetry]`: names of metrics, and where traces are sent.
//!
//! Read by `config`.

use std::time::Duration;

use super::Fault;
use super::reader::Reader;
use crate::telemetry::MetricNames;
use crate::traces::TraceSettings;

/// Settings of what monitors get to see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TelemetryConfig {
    /// Names of metrics.
    pub metric_names: MetricNames,
    /// Where traces are sent; none are made without.
    pub traces: Option<TraceSettings>,
}

impl TelemetryConfig {
    pub(super) fn read(reader: &mut Reader) -> Self {
        let vllm = reader.flag("telemetry.vllm_metric_names");
        Self { metric_names: if vllm { MetricNames::OwnAndVllm } else { MetricNames::Own }, traces: traces(reader) }
    }
}

fn traces(reader: &mut Reader) -> Option<TraceSettings> {
    let endpoint = reader.text("telemetry.otlp_endpoint");
    let is_url = ["http://", "https://"].iter().any(|scheme| endpoint.starts_with(scheme));
    if !endpoint.is_empty() && !is_url {
        reader.refuse("telemetry.otlp_endpoint", Fault::NoUrl { value: endpoint.clone() });
    }
    let service_name = reader.text("telemetry.service_name");
    if service_name.trim().is_empty() {
        reader.refuse("telemetry.service_name", Fault::Empty);
    }
    let settings = TraceSettings {
        endpoint: endpoint.trim_end_matches('/').to_owned(),
        service_name,
        sample: reader.integer("telemetry.trace_sample", 1..=1_000_000),
        queue_spans: reader.integer("telemetry.trace_queue_spans", 1..=1_048_576),
        timeout: Duration::from_secs(reader.integer("telemetry.otlp_timeout_s", 1..=300)),
    };
    (!endpoint.is_empty()).then_some(settings)
}
