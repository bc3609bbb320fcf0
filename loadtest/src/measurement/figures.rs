//! The figures of a run, under the names that `vllm bench serve` gives them.

use serde::Serialize;

use super::recorder::{Counts, Recorder};
use super::spread::Spread;
use super::timeline::Second;

/// Percentiles that are reported, with their part of a key.
const PERCENTILES: [(f64, &str); 5] = [(50.0, "p50"), (90.0, "p90"), (95.0, "p95"), (99.0, "p99"), (99.9, "p99.9")];

/// The figures of a run.
#[derive(Debug, Clone)]
pub struct Figures {
    /// Seconds from the start to the end of the last answer.
    pub duration: f64,
    /// Seconds to the end of the last answer that only the server could delay: clients that read slowly are left out.
    pub judged_duration: f64,
    /// Numbers of requests and tokens.
    pub counts: Counts,
    /// Whether there are limits of goodput.
    pub has_limits: bool,
    /// Times to the first text of a stream.
    pub ttft: Spread,
    /// Times per token after the first.
    pub tpot: Spread,
    /// Times between pieces of text.
    pub itl: Spread,
    /// Times to the end of the answer.
    pub e2el: Spread,
    /// Times from when a request was due to its sending.
    pub lag: Spread,
    /// Faults by class.
    pub errors: Vec<ErrorCount>,
    /// The run second by second.
    pub seconds: Vec<Second>,
}

/// A class of faults.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ErrorCount {
    /// Name of the class.
    pub class: String,
    /// Requests that failed so.
    pub count: u64,
    /// The first of them, for people.
    pub example: String,
}

/// A figure with its key.
#[derive(Debug, Clone, PartialEq)]
pub struct KeyedFigure {
    /// Key in JSON, thresholds and comparisons.
    pub key: String,
    /// The figure.
    pub value: f64,
}

impl Figures {
    /// Every figure by its key, in the order of reports.
    pub fn keyed(&self) -> Vec<KeyedFigure> {
        let counts = self.counts;
        let per_second = |count: u64| if self.duration > 0.0 { count as f64 / self.duration } else { 0.0 };
        let most = |figure: fn(&Second) -> u64| self.seconds.iter().map(figure).max().unwrap_or_default() as f64;
        let mut all = vec![
            figure("duration", self.duration),
            figure("completed", counts.completed as f64),
            figure("failed", counts.failed as f64),
            figure("left", counts.left as f64),
            figure("total_input_tokens", counts.source_tokens as f64),
            figure("total_output_tokens", counts.target_tokens as f64),
            figure("request_throughput", per_second(counts.completed)),
            figure("request_goodput", per_second(counts.good)),
            figure("output_throughput", per_second(counts.target_tokens)),
            figure("total_token_throughput", per_second(counts.source_tokens + counts.target_tokens)),
            figure("max_output_tokens_per_s", most(|second| second.tokens)),
            figure("max_concurrent_requests", most(|second| second.active)),
        ];
        for (name, spread) in self.spreads() {
            all.push(figure(&format!("mean_{name}_ms"), spread.mean_ms()));
            all.push(figure(&format!("median_{name}_ms"), spread.percentile_ms(50.0)));
            all.push(figure(&format!("std_{name}_ms"), spread.std_ms()));
            let percentiles = PERCENTILES.iter();
            all.extend(
                percentiles.map(|(percent, key)| figure(&format!("{key}_{name}_ms"), spread.percentile_ms(*percent))),
            );
        }
        all
    }

    /// The figure of this key.
    pub fn value(&self, key: &str) -> Option<f64> {
        self.keyed().into_iter().find(|figure| figure.key == key).map(|figure| figure.value)
    }

    /// Spreads of times, by their name in keys.
    pub fn spreads(&self) -> [(&'static str, &Spread); 5] {
        [("ttft", &self.ttft), ("tpot", &self.tpot), ("itl", &self.itl), ("e2el", &self.e2el), ("send_lag", &self.lag)]
    }
}

fn figure(key: &str, value: f64) -> KeyedFigure {
    KeyedFigure { key: key.to_owned(), value }
}

/// Keys of all figures.
pub fn keys() -> Vec<String> {
    Recorder::default().figures().keyed().into_iter().map(|figure| figure.key).collect()
}
