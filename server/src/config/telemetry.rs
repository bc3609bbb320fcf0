//! The settings under `[telemetry]`: names of metrics.
//!
//! Read by `config`.

use super::reader::Reader;
use crate::telemetry::MetricNames;

/// Settings of what monitors get to see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TelemetryConfig {
    /// Names of metrics.
    pub metric_names: MetricNames,
}

impl TelemetryConfig {
    pub(super) fn read(reader: &mut Reader) -> Self {
        let vllm = reader.flag("telemetry.vllm_metric_names");
        Self { metric_names: if vllm { MetricNames::OwnAndVllm } else { MetricNames::Own } }
    }
}
