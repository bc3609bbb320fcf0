//! The settings under `[telemetry]`: names of metrics, and where traces are sent.
//!
//! Read by `config`.

use std::time::Duration;

use super::Fault;
use super::hub::names_user;
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
    if names_user(&endpoint) {
        reader.refuse("telemetry.otlp_endpoint", Fault::UserInUrl);
    } else if !endpoint.is_empty() && !is_url {
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

#[cfg(test)]
mod tests {
    use super::super::{Config, Layer};
    use super::*;

    fn settings(text: &str) -> Result<TelemetryConfig, String> {
        let layer = Layer::parse("my.toml", &format!("[telemetry]\n{text}")).unwrap();
        Config::from_layers(vec![layer]).map(|config| config.telemetry).map_err(|error| error.to_string())
    }

    #[test]
    fn nothing_is_traced_or_told_twice_unless_asked_for() {
        assert_eq!(settings("").unwrap(), TelemetryConfig { metric_names: MetricNames::Own, traces: None });
        assert_eq!(settings("trace_sample = 10").unwrap().traces, None, "there is no collector");
        let both = settings("vllm_metric_names = true\notlp_endpoint = \"http://collector:4318/\"").unwrap();
        assert_eq!(both.metric_names, MetricNames::OwnAndVllm);
        let traces = both.traces.unwrap();
        assert_eq!((traces.endpoint.as_str(), traces.service_name.as_str()), ("http://collector:4318", "encdec"));
        assert_eq!((traces.sample, traces.queue_spans, traces.timeout.as_secs()), (1, 8192, 10));
    }

    #[test]
    fn an_address_that_is_none_or_holds_a_secret_is_refused() {
        for (text, part) in [
            ("otlp_endpoint = \"collector:4318\"", "telemetry.otlp_endpoint"),
            ("otlp_endpoint = \"http://me:secret@collector\"", "telemetry.otlp_endpoint"),
            ("service_name = \" \"", "telemetry.service_name"),
            ("trace_sample = 0", "telemetry.trace_sample: must be between 1 and 1000000, is 0"),
        ] {
            let problem = settings(text).unwrap_err();
            assert!(problem.contains(part) && !problem.contains("secret"), "{problem}");
        }
    }
}
