//! All metrics of a server, and the handles of each of its models.

use std::sync::Arc;

use prometheus::proto::MetricFamily;
use prometheus::{Encoder, Registry, TextEncoder};

use super::batch_metrics::BatchMetrics;
use super::engine_metrics::{EngineFamilies, EngineMetrics};
use super::key_metrics::KeyMetrics;
use super::request_metrics::{RequestFamilies, RequestMetrics};
use super::server_metrics::ServerMetrics;
use super::vllm_names::aliases;

/// All metrics of one server; cheap to clone, all clones count together.
#[derive(Debug, Clone)]
pub struct Metrics(Arc<Registered>);

/// The names under which metrics are told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum MetricNames {
    /// The server's own.
    #[default]
    Own,
    /// The server's own, and those of vLLM for what both have.
    OwnAndVllm,
}

#[derive(Debug)]
struct Registered {
    registry: Registry,
    names: MetricNames,
    server: ServerMetrics,
    keys: KeyMetrics,
    batches: BatchMetrics,
    engines: EngineFamilies,
    requests: RequestFamilies,
    without_model: Arc<RequestMetrics>,
}

/// The metrics of one model, under its name in the label `model`; cheap to clone.
#[derive(Debug, Clone)]
pub struct ModelMetrics {
    /// Metrics of its engine.
    pub engine: Arc<EngineMetrics>,
    /// Metrics of its requests.
    pub requests: Arc<RequestMetrics>,
}

/// Metrics of a server without models.
impl Default for Metrics {
    fn default() -> Self {
        Self::of_models(&[])
    }
}

impl Metrics {
    /// Registers everything at zero, for a server of the models with these names.
    pub fn of_models(names: &[&str]) -> Self {
        Self::with_names(names, MetricNames::Own)
    }

    /// Registers everything at zero, for a server of the models with the names `models`.
    pub fn with_names(models: &[&str], names: MetricNames) -> Self {
        let registry = Registry::new();
        let (engines, requests) = (EngineFamilies::new(&registry), RequestFamilies::new(&registry));
        for name in models {
            engines.of_model(name);
            requests.of_model(name);
        }
        let without_model = requests.of_model(if let [only] = models { only } else { "" });
        let (server, keys) = (ServerMetrics::new(&registry), KeyMetrics::new(&registry));
        let (batches, without_model) = (BatchMetrics::new(&registry), Arc::new(without_model));
        Self(Arc::new(Registered { registry, names, server, keys, batches, engines, requests, without_model }))
    }

    /// Metrics of the server itself.
    pub fn server(&self) -> &ServerMetrics {
        &self.0.server
    }

    /// Metrics by API key.
    pub fn keys(&self) -> &KeyMetrics {
        &self.0.keys
    }

    /// Metrics of batches and files.
    pub fn batches(&self) -> &BatchMetrics {
        &self.0.batches
    }

    /// Metrics of the model with this name.
    pub fn model(&self, name: &str) -> ModelMetrics {
        let Registered { engines, requests, .. } = &*self.0;
        ModelMetrics { engine: Arc::new(engines.of_model(name)), requests: Arc::new(requests.of_model(name)) }
    }

    /// Metrics of requests that end before their model is known: those of the only model where there is one, otherwise
    /// under an empty name, which to Prometheus is no label at all.
    pub fn without_model(&self) -> &Arc<RequestMetrics> {
        &self.0.without_model
    }

    /// Everything in Prometheus' text format.
    pub fn text(&self) -> String {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.families(), &mut text).expect("writing to memory cannot fail");
        String::from_utf8(text).expect("metric names and labels are text")
    }

    /// Everything as it is now.
    pub(super) fn families(&self) -> Vec<MetricFamily> {
        let mut families = self.0.registry.gather();
        if self.0.names == MetricNames::OwnAndVllm {
            families.extend(aliases(&families));
        }
        families
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::key_metrics::KeyUse;
    use super::super::outcome::Outcome;
    use super::*;

    #[test]
    fn every_outcome_and_page_state_is_there_before_anything_happens() {
        let text = Metrics::of_models(&["demo"]).text();
        for outcome in Outcome::ALL {
            let line = format!("encdec_requests_total{{model=\"demo\",outcome=\"{}\"}} 0", outcome.label());
            assert!(text.contains(&line), "{text}");
        }
        for state in ["free", "held", "cached"] {
            assert!(text.contains(&format!("encdec_pages{{model=\"demo\",state=\"{state}\"}} 0")), "{text}");
        }
        for name in ["encdec_encoder_runs_total", "encdec_cross_cache_hits_total"] {
            assert!(text.contains(&format!("{name}{{model=\"demo\"}} 0")), "{text}");
        }
        for name in ["encdec_first_token_seconds", "encdec_token_gap_seconds", "encdec_step_seconds"] {
            assert!(text.contains(&format!("{name}_count{{model=\"demo\"}} 0")), "{text}");
        }
    }

    /// The rows of the page's table of metrics.
    fn documented() -> Vec<&'static str> {
        let page = include_str!("../../../docs/api.md");
        let table = page.split_once("\n## Metrics\n").unwrap().1.split("\n## ").next().unwrap();
        table.lines().filter(|line| line.starts_with("| `encdec_") || line.starts_with("| `process_")).collect()
    }

    #[test]
    fn the_documented_table_says_of_each_metric_what_its_help_text_says() {
        let metrics = Metrics::of_models(&["demo"]);
        metrics.without_model().count_refusal("overloaded");
        metrics.model("demo").engine.steps.decoded(3, Duration::ZERO);
        let request = KeyUse { outcome: Outcome::Completed, source_tokens: 1, generated_tokens: 1 };
        metrics.keys().count("team", request);
        let row = |family: &MetricFamily| {
            let kind = format!("{:?}", family.get_field_type()).to_lowercase();
            let labels: Vec<_> = family.get_metric()[0].get_label().iter().map(|label| label.name()).collect();
            // A metric's own label is told first.
            let (model, own): (Vec<_>, Vec<_>) = labels.into_iter().partition(|name| *name == "model");
            let by: Vec<_> = own.iter().chain(&model).map(|name| format!("`{name}`")).collect();
            let by = if by.is_empty() { String::new() } else { format!(", by {}", by.join(" and ")) };
            format!("| `{}` | {kind}{by} | {} |", family.name(), family.help())
        };
        let (mut rows, mut documented): (Vec<_>, _) = (metrics.families().iter().map(row).collect(), documented());
        rows.sort();
        documented.sort();
        assert_eq!(rows, documented, "docs/api.md");
    }

    #[test]
    fn what_concerns_a_model_carries_its_name_and_what_concerns_the_process_does_not() {
        let metrics = Metrics::of_models(&["org/\"demo\"", "other"]);
        metrics.model("other").requests.count_refusal("overloaded");
        let text = metrics.text();
        assert!(text.contains("encdec_pages{model=\"org/\\\"demo\\\"\",state=\"free\"} 0"), "{text}");
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let own =
                ["encdec_build_info", "encdec_connections_", "encdec_log_lines_", "encdec_trace_", "encdec_batch"];
            let of_process = own.into_iter().chain(["process_"]).collect::<Vec<_>>();
            let is_of_process = of_process.iter().any(|name| line.starts_with(name));
            assert_eq!(line.contains("model="), !is_of_process, "{line}");
        }
        assert_eq!(text.matches("# TYPE encdec_pages gauge").count(), 1, "one family holds all models");
    }

    #[test]
    fn models_and_servers_count_apart_and_clones_of_a_server_together() {
        let (one, two) = (Metrics::of_models(&["a", "b"]), Metrics::of_models(&["a", "b"]));
        one.clone().model("a").requests.count_request(Outcome::Completed);
        one.model("a").engine.encoder_runs.inc_by(7);
        one.model("b").engine.encoder_runs.inc_by(5);
        let count = |metrics: &Metrics, name: &str| metrics.model(name).requests.requests(Outcome::Completed);
        assert_eq!([count(&one, "a"), count(&one, "b"), count(&two, "a")], [1, 0, 0]);
        let text = one.text();
        assert!(text.contains("encdec_encoder_runs_total{model=\"a\"} 7"), "{text}");
        assert!(text.contains("encdec_encoder_runs_total{model=\"b\"} 5"), "{text}");
    }

    #[test]
    fn requests_without_a_model_count_for_the_only_one_and_for_none_among_several() {
        let ended = |names: &[&str]| {
            let metrics = Metrics::of_models(names);
            metrics.without_model().count_request(Outcome::Refused);
            metrics
                .text()
                .lines()
                .find(|line| line.starts_with("encdec_requests_total") && line.ends_with(" 1"))
                .unwrap()
                .to_owned()
        };
        assert_eq!(ended(&["a"]), "encdec_requests_total{model=\"a\",outcome=\"refused\"} 1");
        assert_eq!(ended(&["a", "b"]), "encdec_requests_total{model=\"\",outcome=\"refused\"} 1");
    }
}
