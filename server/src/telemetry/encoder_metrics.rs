//! Metrics of one engine's encoder and of the cache of encoded sources.
//!
//! Set by the engine thread.

use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry};

use super::buckets;
use super::families::{Families, MODEL};

/// Handles to the metrics of one encoder.
#[derive(Debug)]
pub struct EncoderMetrics {
    /// Time that a batch of sources takes, the steps of others in between included.
    pub seconds: Histogram,
    /// Source tokens of a batch.
    pub batch_tokens: Histogram,
    /// Requests whose source had to be encoded.
    pub cache_misses: IntCounter,
    /// Encoded sources that were evicted.
    pub cache_evictions: IntCounter,
    /// Bytes of the pages of encoded sources that no sequence holds.
    pub cache_bytes: IntGauge,
}

/// The encoder metrics of all engines.
#[derive(Debug)]
pub(super) struct EncoderFamilies {
    seconds: HistogramVec,
    batch_tokens: HistogramVec,
    cache_misses: IntCounterVec,
    cache_evictions: IntCounterVec,
    cache_bytes: IntGaugeVec,
}

impl EncoderFamilies {
    /// Registers the metrics, without any model yet.
    pub fn new(registry: &Registry) -> Self {
        let make = Families(registry);
        let seconds = "From the step in which a batch of sources enters the encoder to the end of its last one.";
        let misses = "Prompts whose source had no cross K/V yet.";
        let evictions = "Encoded sources that gave up their pages to others.";
        let bytes = "Bytes of the pages of encoded sources that are kept for reuse.";
        let tokens = "Source tokens of a batch that enters the encoder.";
        Self {
            seconds: make.histograms("encdec_encoder_seconds", seconds, buckets::step_seconds()),
            batch_tokens: make.histograms("encdec_encoder_batch_tokens", tokens, buckets::lengths()),
            cache_misses: make.counters("encdec_cross_cache_misses_total", misses, &[MODEL]),
            cache_evictions: make.counters("encdec_cross_cache_evictions_total", evictions, &[MODEL]),
            cache_bytes: make.gauges("encdec_cross_cache_bytes", bytes, &[MODEL]),
        }
    }

    /// The handles of one model's engine.
    pub fn of_model(&self, model: &str) -> EncoderMetrics {
        let labels = &[model];
        EncoderMetrics {
            seconds: self.seconds.with_label_values(labels),
            batch_tokens: self.batch_tokens.with_label_values(labels),
            cache_misses: self.cache_misses.with_label_values(labels),
            cache_evictions: self.cache_evictions.with_label_values(labels),
            cache_bytes: self.cache_bytes.with_label_values(labels),
        }
    }
}
