//! Every metric of the server: names, help, buckets, and one typed handle to each.
//!
//! `api` counts requests and times tokens, the engine thread sets pages and steps, `/metrics` reads. Nothing else
//! may spell a metric's name.

use std::sync::Arc;

use prometheus::{
    Encoder, Gauge, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder, core::Collector,
};

/// How an HTTP completion request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Answered whole.
    Completed,
    /// The client went away first.
    Cancelled,
    /// The request was at fault (4xx).
    Refused,
    /// Turned away because the queue was full (429).
    Overloaded,
    /// Turned away because the server is not ready yet or shutting down, or cut off by its end (503).
    Unavailable,
    /// The server was at fault (any other 5xx, or an error inside a stream).
    Failed,
}

impl Outcome {
    const ALL: [Self; 6] =
        [Self::Completed, Self::Cancelled, Self::Refused, Self::Overloaded, Self::Unavailable, Self::Failed];

    /// The value of the label `outcome`.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Cancelled => "cancelled",
            Self::Refused => "refused",
            Self::Overloaded => "overloaded",
            Self::Unavailable => "unavailable",
            Self::Failed => "failed",
        }
    }
}

/// Time to the first token: a tiny model on a warm cache takes a millisecond, a long queue minutes.
const FIRST_TOKEN_SECONDS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0,
    80.0, 160.0,
];
/// Decode steps last from half a millisecond (a small model on a GPU) to a second (a large one on a CPU).
const STEP_SECONDS: &[f64] =
    &[0.0005, 0.001, 0.002, 0.003, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.5, 5.0];
/// Whole requests.
const REQUEST_SECONDS: &[f64] =
    &[0.01, 0.025, 0.05, 0.1, 0.3, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 240.0, 480.0];
/// Tokenising is microseconds for a sentence.
const TOKENIZE_SECONDS: &[f64] = &[0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0];
/// Rows of one decode step.
const STEP_ROWS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];

/// Handles to all metrics of one server; cheap to clone, all clones count together.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Registry,
    shared: Arc<Handles>,
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
    /// HTTP completion requests that are being answered.
    pub open_requests: IntGauge,
    /// Source tokens of accepted requests.
    pub source_tokens: IntCounter,
    /// Source tokens that the cross-K/V cache saved.
    pub cached_source_tokens: IntCounter,
    /// Tokens generated for clients.
    pub generated_tokens: IntCounter,
    /// From a request's arrival to its first token.
    pub first_token_seconds: Histogram,
    /// Between two tokens of a choice.
    pub token_gap_seconds: Histogram,
    /// From a request's arrival to the end of its answer.
    pub request_seconds: Histogram,
    /// Tokenising one request.
    pub tokenize_seconds: Histogram,
    requests: IntCounterVec,
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
    /// A registry of its own, everything at zero.
    pub fn new() -> Self {
        let make = Make { registry: Registry::new() };
        let pages = make.gauges("encdec_pages", "Pages of the K/V pool, by state.", "state");
        let requests =
            make.counters("encdec_requests_total", "HTTP completion requests, by how they ended.", "outcome");
        for outcome in Outcome::ALL {
            requests.with_label_values(&[outcome.label()]);
        }
        make.gauges("encdec_build_info", "Always 1; the label tells the version.", "version")
            .with_label_values(&[env!("CARGO_PKG_VERSION")])
            .set(1);
        let shared = Arc::new(make.handles(&pages, requests));
        Self { registry: make.registry, shared }
    }

    /// Counts the end of an HTTP completion request.
    pub fn count_request(&self, outcome: Outcome) {
        self.requests.with_label_values(&[outcome.label()]).inc();
    }

    /// How many requests ended so.
    pub fn requests(&self, outcome: Outcome) -> u64 {
        self.requests.with_label_values(&[outcome.label()]).get()
    }

    /// Everything in Prometheus' text format.
    pub fn text(&self) -> String {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text).expect("writing to memory cannot fail");
        String::from_utf8(text).expect("metric names and labels are text")
    }
}

/// Creates and registers.
struct Make {
    registry: Registry,
}

impl Make {
    fn handles(&self, pages: &IntGaugeVec, requests: IntCounterVec) -> Handles {
        Handles {
            pages_free: pages.with_label_values(&["free"]),
            pages_held: pages.with_label_values(&["held"]),
            pages_cached: pages.with_label_values(&["cached"]),
            page_waste_ratio: self.ratio("encdec_page_waste_ratio", "Share of held page positions without a token."),
            running_rows: self.gauge("encdec_running_rows", "Sequences in the decode batch."),
            waiting_rows: self.gauge("encdec_waiting_rows", "Sequences that wait for pages or a row."),
            step_rows: self.histogram("encdec_step_rows", "Decode rows of an engine step.", STEP_ROWS),
            step_seconds: self.histogram("encdec_step_seconds", "Duration of an engine step.", STEP_SECONDS),
            encoder_runs: self.counter("encdec_encoder_runs_total", "Sources taken through the encoder."),
            encoder_tokens: self.counter("encdec_encoder_tokens_total", "Source tokens taken through the encoder."),
            cross_cache_hits: self.counter(
                "encdec_cross_cache_hits_total",
                "Requests that found their source's cross K/V there already.",
            ),
            preemptions: self.counter("encdec_preemptions_total", "Sequences that gave up their pages to older ones."),
            open_requests: self.gauge("encdec_open_requests", "HTTP completion requests being answered."),
            source_tokens: self.counter("encdec_source_tokens_total", "Source tokens of accepted requests."),
            cached_source_tokens: self
                .counter("encdec_cached_source_tokens_total", "Source tokens whose cross K/V was there already."),
            generated_tokens: self.counter("encdec_generated_tokens_total", "Tokens generated, end tokens included."),
            first_token_seconds: self.histogram(
                "encdec_first_token_seconds",
                "From a request's arrival to its first token.",
                FIRST_TOKEN_SECONDS,
            ),
            token_gap_seconds: self.histogram(
                "encdec_token_gap_seconds",
                "Between two tokens of a choice.",
                STEP_SECONDS,
            ),
            request_seconds: self.histogram(
                "encdec_request_seconds",
                "From a request's arrival to the end of its answer.",
                REQUEST_SECONDS,
            ),
            tokenize_seconds: self.histogram(
                "encdec_tokenize_seconds",
                "Tokenising the texts of a request.",
                TOKENIZE_SECONDS,
            ),
            requests,
        }
    }

    fn register<C: Collector + Clone + 'static>(&self, made: prometheus::Result<C>) -> C {
        let collector = made.expect("the names and labels of this file are valid");
        self.registry.register(Box::new(collector.clone())).expect("each name of this file is used once");
        collector
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

    #[test]
    fn every_metric_is_documented() {
        let page = include_str!("../../docs/api.md");
        let metrics = Metrics::new();
        for family in metrics.registry.gather() {
            assert!(page.contains(&format!("`{}`", family.name())), "{}", family.name());
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
