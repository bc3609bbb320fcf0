//! Metrics by API key: requests and tokens of each.
//!
//! Counted by `api`. A key's name is a label; its secret is nowhere.

use prometheus::{IntCounterVec, Registry};

use super::families::Families;
use super::outcome::Outcome;

const KEY: &str = "key";

/// The metrics of all keys.
#[derive(Debug)]
pub struct KeyMetrics {
    requests: IntCounterVec,
    source_tokens: IntCounterVec,
    generated_tokens: IntCounterVec,
}

/// One request with a key.
#[derive(Debug, Clone, Copy)]
pub struct KeyUse {
    /// How it ended.
    pub outcome: Outcome,
    /// Source tokens that reached the engine.
    pub source_tokens: u64,
    /// Tokens that were generated for it.
    pub generated_tokens: u64,
}

impl KeyMetrics {
    /// Registers the metrics, without any key yet.
    pub(super) fn new(registry: &Registry) -> Self {
        let make = Families(registry);
        let requests = "Requests on any path with an API key, by the key and by how they ended.";
        let (source, generated) = ("Source tokens of requests with an API key.", "Tokens generated for an API key.");
        Self {
            requests: make.counters("encdec_key_requests_total", requests, &[KEY, "outcome"]),
            source_tokens: make.counters("encdec_key_source_tokens_total", source, &[KEY]),
            generated_tokens: make.counters("encdec_key_generated_tokens_total", generated, &[KEY]),
        }
    }

    /// Counts a request with the key of this name.
    pub fn count(&self, key: &str, request: KeyUse) {
        let KeyUse { outcome, source_tokens, generated_tokens } = request;
        self.requests.with_label_values(&[key, outcome.label()]).inc();
        self.source_tokens.with_label_values(&[key]).inc_by(source_tokens);
        self.generated_tokens.with_label_values(&[key]).inc_by(generated_tokens);
    }
}
