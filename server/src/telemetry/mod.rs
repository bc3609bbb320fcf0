//! Every metric of the server: names, help, buckets, and one typed handle to each.
//!
//! `api` counts requests and times tokens, the engine thread sets pages and steps, `/metrics` reads. Nothing else
//! may spell a metric's name.

mod buckets;
mod log_lines;
mod outcome;
mod process;

use std::collections::HashMap;
use std::sync::Arc;

use prometheus::proto::MetricFamily;
use prometheus::{
    Encoder, Gauge, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder, core::Collector,
};

use log_lines::LogLines;
pub use outcome::Outcome;
use process::ProcessMetrics;

use crate::request::FinishReason;

/// Handles to all metrics of one server; cheap to clone, all clones count together.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// What concerns the process, whatever it serves.
    of_process: Registry,
    /// What concerns the model, and carries its name.
    of_model: Registry,
    shared: Arc<Handles>,
}

/// A connection that is counted as open.
#[derive(Debug)]
pub struct OpenConnection(IntGauge);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// The metrics themselves.
#[derive(Debug)]
pub struct Handles {
    /// Pages nobody holds.
    pub pages_free: IntGauge,
    /// Pages of running and waiting requests.
    pub pages_held: IntGauge,
    /// Pages of finished sources kept for reuse.
    pub pages_cached: IntGauge,
    /// Share of all pages that running and waiting requests hold.
    pub page_usage_ratio: Gauge,
    /// Share of the held positions that hold no token.
    pub page_waste_ratio: Gauge,
    /// Sequences in the decode batch.
    pub running_rows: IntGauge,
    /// Sequences that wait to run.
    pub waiting_rows: IntGauge,
    /// Decode rows of each step.
    pub step_rows: Histogram,
    /// Duration of an engine step.
    pub step_seconds: Histogram,
    /// Sources taken through the encoder.
    pub encoder_runs: IntCounter,
    /// Tokens of those sources.
    pub encoder_tokens: IntCounter,
    /// Requests whose source was there already.
    pub cross_cache_hits: IntCounter,
    /// Sequences that gave their pages up to an older one.
    pub preemptions: IntCounter,
    /// Connections that are open.
    pub connections_open: IntGauge,
    /// How many may be.
    pub connections_limit: IntGauge,
    /// HTTP completion requests that are being answered.
    pub open_requests: IntGauge,
    /// Source tokens of accepted requests.
    pub source_tokens: IntCounter,
    /// Source tokens that the cross-K/V cache saved.
    pub cached_source_tokens: IntCounter,
    /// Source tokens of each prompt.
    pub source_length: Histogram,
    /// Tokens generated for each choice.
    pub target_length: Histogram,
    /// Tokens generated for clients.
    pub generated_tokens: IntCounter,
    /// From a prompt's submission to the engine until it runs.
    pub queue_seconds: Histogram,
    /// From a request's arrival to its first token.
    pub first_token_seconds: Histogram,
    /// Between two tokens of a choice.
    pub token_gap_seconds: Histogram,
    /// From a request's arrival to the end of its answer.
    pub request_seconds: Histogram,
    /// Tokenising one request.
    pub tokenize_seconds: Histogram,
    requests: IntCounterVec,
    refusals: IntCounterVec,
    finished_choices: IntCounterVec,
}

impl std::ops::Deref for Metrics {
    type Target = Handles;

    fn deref(&self) -> &Handles {
        &self.shared
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Registries of its own, everything at zero, of a model without a name.
    pub fn new() -> Self {
        Self::labelled(HashMap::new())
    }

    /// As [`Self::new`]; whatever concerns the model carries its name in the label `model`.
    pub fn of_model(name: &str) -> Self {
        Self::labelled(HashMap::from([("model".to_owned(), name.to_owned())]))
    }

    fn labelled(labels: HashMap<String, String>) -> Self {
        let of_model = Registry::new_custom(None, Some(labels)).expect("without a prefix there is nothing to refuse");
        let (model, process) = (Make { registry: of_model }, Make { registry: Registry::new() });
        let version = "Always 1; the label tells the version.";
        process.gauges("encdec_build_info", version, "version").with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        process.register_one(Box::new(LogLines::new().expect("the name of the metric is valid")));
        process.register_one(Box::new(ProcessMetrics::new().expect("the names of process metrics are valid")));
        let shared = Arc::new(Handles::make(&model, &process));
        Self { of_process: process.registry, of_model: model.registry, shared }
    }

    /// Counts the end of an HTTP completion request.
    pub fn count_request(&self, outcome: Outcome) {
        self.requests.with_label_values(&[outcome.label()]).inc();
    }

    /// Counts a request that was answered with an error, by its code.
    pub fn count_refusal(&self, reason: &str) {
        self.refusals.with_label_values(&[reason]).inc();
    }

    /// Counts the end of a choice.
    pub fn count_finish(&self, reason: FinishReason) {
        self.finished_choices.with_label_values(&[reason.name()]).inc();
    }

    /// Counts a connection as open until what is returned is dropped.
    pub fn count_connection(&self) -> OpenConnection {
        self.connections_open.inc();
        OpenConnection(self.connections_open.clone())
    }

    /// How many requests ended so.
    pub fn requests(&self, outcome: Outcome) -> u64 {
        self.requests.with_label_values(&[outcome.label()]).get()
    }

    /// Everything in Prometheus' text format.
    pub fn text(&self) -> String {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.families(), &mut text).expect("writing to memory cannot fail");
        String::from_utf8(text).expect("metric names and labels are text")
    }

    fn families(&self) -> Vec<MetricFamily> {
        [self.of_model.gather(), self.of_process.gather()].concat()
    }
}

impl Handles {
    fn make(model: &Make, process: &Make) -> Self {
        let pages = model.gauges("encdec_pages", "Pages of the K/V pool, by state.", "state");
        let [pages_free, pages_held, pages_cached] =
            ["free", "held", "cached"].map(|state| pages.with_label_values(&[state]));
        let [first_token_seconds, token_gap_seconds, request_seconds, tokenize_seconds, queue_seconds] =
            model.request_times();
        let [requests, refusals, finished_choices] = model.request_counts();
        let [source_length, target_length, step_rows, step_seconds] = model.sizes_and_steps();
        Self {
            pages_free,
            pages_held,
            pages_cached,
            page_usage_ratio: model
                .ratio("encdec_page_usage_ratio", "Share of all pages that running and waiting requests hold."),
            page_waste_ratio: model.ratio("encdec_page_waste_ratio", "Share of held page positions without a token."),
            running_rows: model.gauge("encdec_running_rows", "Sequences in the decode batch."),
            waiting_rows: model.gauge("encdec_waiting_rows", "Sequences that wait for pages or a row."),
            step_rows,
            step_seconds,
            encoder_runs: model.counter("encdec_encoder_runs_total", "Sources taken through the encoder."),
            encoder_tokens: model.counter("encdec_encoder_tokens_total", "Source tokens taken through the encoder."),
            cross_cache_hits: model
                .counter("encdec_cross_cache_hits_total", "Prompts whose source's cross K/V was there already."),
            preemptions: model.counter("encdec_preemptions_total", "Sequences that gave up their pages to older ones."),
            connections_open: process.gauge("encdec_connections_open", "Connections that are open."),
            connections_limit: process.gauge("encdec_connections_limit", "Connections that may be open at once."),
            open_requests: model.gauge("encdec_open_requests", "HTTP completion requests being answered."),
            source_tokens: model.counter("encdec_source_tokens_total", "Source tokens of accepted requests."),
            cached_source_tokens: model
                .counter("encdec_cached_source_tokens_total", "Source tokens whose cross K/V was there already."),
            source_length,
            target_length,
            generated_tokens: model.counter("encdec_generated_tokens_total", "Tokens generated, end tokens included."),
            queue_seconds,
            first_token_seconds,
            token_gap_seconds,
            request_seconds,
            tokenize_seconds,
            requests,
            refusals,
            finished_choices,
        }
    }
}

/// Creates and registers.
struct Make {
    registry: Registry,
}

impl Make {
    fn request_times(&self) -> [Histogram; 5] {
        let first_token = "From a request's arrival to its first token.";
        let request = "From a completed request's arrival to the end of its answer.";
        let queue = "From a prompt's submission to the engine until it runs.";
        [
            self.histogram("encdec_first_token_seconds", first_token, &buckets::first_token_seconds()),
            self.histogram("encdec_token_gap_seconds", "Between two tokens of a choice.", &buckets::step_seconds()),
            self.histogram("encdec_request_seconds", request, &buckets::request_seconds()),
            self.histogram("encdec_tokenize_seconds", "Tokenising the texts of a request.", buckets::TOKENIZE_SECONDS),
            self.histogram("encdec_queue_seconds", queue, &buckets::queue_seconds()),
        ]
    }

    fn request_counts(&self) -> [IntCounterVec; 3] {
        let requests =
            self.counters("encdec_requests_total", "HTTP completion requests, by how they ended.", "outcome");
        for outcome in Outcome::ALL {
            requests.with_label_values(&[outcome.label()]);
        }
        let refusals = "Requests on any path that were answered with an error, by its code.";
        let refusals = self.counters("encdec_refusals_total", refusals, "reason");
        let finished = self.counters("encdec_finished_choices_total", "Choices that ended, by why.", "reason");
        for reason in [FinishReason::Stop, FinishReason::Length] {
            finished.with_label_values(&[reason.name()]);
        }
        [requests, refusals, finished]
    }

    fn sizes_and_steps(&self) -> [Histogram; 4] {
        let lengths = buckets::lengths();
        let target = "Tokens generated for each choice, end tokens included.";
        [
            self.histogram("encdec_source_length_tokens", "Source tokens of each prompt.", &lengths),
            self.histogram("encdec_target_length_tokens", target, &lengths),
            self.histogram("encdec_step_rows", "Decode rows of an engine step.", buckets::STEP_ROWS),
            self.histogram("encdec_step_seconds", "Duration of an engine step.", &buckets::step_seconds()),
        ]
    }

    fn register<C: Collector + Clone + 'static>(&self, made: prometheus::Result<C>) -> C {
        let collector = made.expect("the names and labels of this file are valid");
        self.register_one(Box::new(collector.clone()));
        collector
    }

    fn register_one(&self, collector: Box<dyn Collector>) {
        self.registry.register(collector).expect("each name of this file is used once");
    }

    fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.register(IntGauge::new(name, help))
    }

    fn ratio(&self, name: &str, help: &str) -> Gauge {
        self.register(Gauge::new(name, help))
    }

    fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.register(IntCounter::new(name, help))
    }

    fn gauges(&self, name: &str, help: &str, label: &str) -> IntGaugeVec {
        self.register(IntGaugeVec::new(Opts::new(name, help), &[label]))
    }

    fn counters(&self, name: &str, help: &str, label: &str) -> IntCounterVec {
        self.register(IntCounterVec::new(Opts::new(name, help), &[label]))
    }

    fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> Histogram {
        self.register(Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_and_page_state_is_there_before_anything_happens() {
        let text = Metrics::new().text();
        for outcome in Outcome::ALL {
            assert!(text.contains(&format!("encdec_requests_total{{outcome=\"{}\"}} 0", outcome.label())), "{text}");
        }
        for state in ["free", "held", "cached"] {
            assert!(text.contains(&format!("encdec_pages{{state=\"{state}\"}} 0")), "{text}");
        }
        for name in ["encdec_encoder_runs_total", "encdec_cross_cache_hits_total"] {
            assert!(text.contains(&format!("{name} 0")), "{text}");
        }
        for name in ["encdec_first_token_seconds", "encdec_token_gap_seconds", "encdec_step_seconds"] {
            assert!(text.contains(&format!("{name}_count 0")), "{text}");
        }
    }

    /// The rows of the page's table of metrics.
    fn documented() -> Vec<&'static str> {
        let page = include_str!("../../../docs/api.md");
        let table = page.split_once("\n## Metrics\n").unwrap().1.split("\n## ").next().unwrap();
        table.lines().filter(|line| line.starts_with("| `")).collect()
    }

    #[test]
    fn the_documented_table_says_of_each_metric_what_its_help_text_says() {
        let metrics = Metrics::of_model("demo");
        metrics.count_refusal("overloaded");
        let row = |family: &MetricFamily| {
            let kind = format!("{:?}", family.get_field_type()).to_lowercase();
            let labels = family.get_metric()[0].get_label().iter().map(|label| label.name());
            let own: Vec<_> = labels.filter(|name| *name != "model").map(|name| format!(", by `{name}`")).collect();
            format!("| `{}` | {kind}{} | {} |", family.name(), own.concat(), family.help())
        };
        let (mut rows, mut documented): (Vec<_>, _) = (metrics.families().iter().map(row).collect(), documented());
        rows.sort();
        documented.sort();
        assert_eq!(rows, documented, "docs/api.md");
    }

    #[test]
    fn what_concerns_the_model_carries_its_name() {
        let metrics = Metrics::of_model("org/\"demo\"");
        metrics.count_refusal("overloaded");
        let text = metrics.text();
        assert!(text.contains("encdec_pages{state=\"free\",model=\"org/\\\"demo\\\"\"} 0"), "{text}");
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let of_process = ["process_", "encdec_build_info", "encdec_connections_", "encdec_log_lines_"];
            let is_of_process = of_process.iter().any(|name| line.starts_with(name));
            assert_eq!(line.contains("model="), !is_of_process, "{line}");
        }
    }

    #[test]
    fn clones_count_together_and_servers_apart() {
        let one = Metrics::new();
        let two = Metrics::new();
        one.clone().count_request(Outcome::Completed);
        one.clone().pages_free.set(7);
        assert_eq!(one.requests(Outcome::Completed), 1);
        assert_eq!(two.requests(Outcome::Completed), 0);
        assert!(one.text().contains("encdec_pages{state=\"free\"} 7"));
    }
}
