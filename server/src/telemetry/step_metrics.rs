//! Metrics of one engine's steps by what is in them: tokens, times by size, the memory that they read, and the pages
//! that they hold.
//!
//! Set by the engine thread.

use std::time::Duration;

use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry};

use super::buckets;
use super::families::{Families, MODEL};

/// Handles to the metrics of one engine's steps.
#[derive(Debug)]
pub struct StepMetrics {
    /// Source tokens that enter the encoder and decode rows, of each step.
    pub tokens: Histogram,
    /// Bytes that decoding read at least.
    pub read_bytes: IntCounter,
    /// Branches of each beam search.
    pub beam_width: Histogram,
    /// Pages of sources that some sequence holds.
    pub cross_pages: IntGauge,
    /// Pages of targets.
    pub self_pages: IntGauge,
    /// Bytes of a page.
    pub page_bytes: IntGauge,
    model: String,
    decode_seconds: HistogramVec,
}

impl StepMetrics {
    /// Notes the duration of a step that only decoded, under its number of rows, rounded up to a power of two.
    pub fn decoded(&self, rows: usize, time: Duration) {
        let rows = rows.next_power_of_two().to_string();
        self.decode_seconds.with_label_values(&[&rows, &self.model]).observe(time.as_secs_f64());
    }
}

/// The step metrics of all engines.
#[derive(Debug)]
pub(super) struct StepFamilies {
    decode_seconds: HistogramVec,
    tokens: HistogramVec,
    read_bytes: IntCounterVec,
    beam_width: HistogramVec,
    held_pages: IntGaugeVec,
    page_bytes: IntGaugeVec,
}

impl StepFamilies {
    /// Registers the metrics, without any model yet.
    pub fn new(registry: &Registry) -> Self {
        let make = Families(registry);
        let decode =
            "Duration of an engine step without encoder work, by its decode rows rounded up to a power of two.";
        let read = "Bytes that decode steps read at least: weights once a step, and the K/V of each sequence.";
        let tokens = "Source tokens that enter the encoder and decode rows of an engine step.";
        let held = "Pages of the K/V pool that sequences hold, by what they are for.";
        Self {
            decode_seconds: make.histograms_by(
                "encdec_decode_step_seconds",
                decode,
                "rows",
                buckets::coarse_step_seconds(),
            ),
            tokens: make.histograms("encdec_step_tokens", tokens, buckets::lengths()),
            read_bytes: make.counters("encdec_decode_read_bytes_total", read, &[MODEL]),
            beam_width: make.histograms("encdec_beam_width", "Branches of a beam search.", buckets::STEP_ROWS.to_vec()),
            held_pages: make.gauges("encdec_held_pages", held, &["kind", MODEL]),
            page_bytes: make.gauges("encdec_page_bytes", "Bytes of a page of the K/V pool.", &[MODEL]),
        }
    }

    /// The handles of one model's engine.
    pub fn of_model(&self, model: &str) -> StepMetrics {
        let labels = &[model];
        StepMetrics {
            tokens: self.tokens.with_label_values(labels),
            read_bytes: self.read_bytes.with_label_values(labels),
            beam_width: self.beam_width.with_label_values(labels),
            cross_pages: self.held_pages.with_label_values(&["cross", model]),
            self_pages: self.held_pages.with_label_values(&["self", model]),
            page_bytes: self.page_bytes.with_label_values(labels),
            model: model.to_owned(),
            decode_seconds: self.decode_seconds.clone(),
        }
    }
}
