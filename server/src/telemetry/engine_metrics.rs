//! Metrics of one engine: pages, rows, steps and encoder runs.
//!
//! Set by the engine, first before its thread starts and then by that thread; read by `/metrics` and by benchmarks.

use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry,
};

use super::buckets;
use super::encoder_metrics::{EncoderFamilies, EncoderMetrics};
use super::families::{Families, MODEL};
use super::overload_metrics::{OverloadFamilies, OverloadMetrics};
use super::step_metrics::{StepFamilies, StepMetrics};

/// Handles to one engine's metrics.
#[derive(Debug)]
pub struct EngineMetrics {
    /// Name of the model: the label `model` of all these metrics.
    pub model: String,
    /// Pages that nobody holds.
    pub pages_free: IntGauge,
    /// Pages of running and waiting requests.
    pub pages_held: IntGauge,
    /// Pages of finished sources that are kept for reuse.
    pub pages_cached: IntGauge,
    /// Share of all pages that running and waiting requests hold.
    pub page_usage_ratio: Gauge,
    /// Share of the held positions that hold no token.
    pub page_waste_ratio: Gauge,
    /// Sequences in the decode batch.
    pub running_rows: IntGauge,
    /// Sequences that wait to run.
    pub waiting_rows: IntGauge,
    /// Encoder requests that wait for the encoder.
    pub waiting_encodings: IntGauge,
    /// Decode rows of each step.
    pub step_rows: Histogram,
    /// Duration of each step.
    pub step_seconds: Histogram,
    /// Sources taken through the encoder.
    pub encoder_runs: IntCounter,
    /// Tokens of those sources.
    pub encoder_tokens: IntCounter,
    /// Requests whose source was there already.
    pub cross_cache_hits: IntCounter,
    /// Sequences that gave up their pages to an older one.
    pub preemptions: IntCounter,
    /// Drafts.
    pub drafts: IntCounter,
    /// Tokens that were drafted.
    pub draft_tokens: IntCounter,
    /// Tokens that were drafted and right.
    pub accepted_draft_tokens: IntCounter,
    /// Time of a thread for the mask of what may come next in an answer with a form.
    pub mask_seconds: Histogram,
    /// Rows that ran again because a mask came after their draw.
    pub late_masks: IntCounter,
    /// Batches of the encoder, and the cache of encoded sources.
    pub encoder: EncoderMetrics,
    /// Steps by what is in them.
    pub steps: StepMetrics,
    /// Overload.
    pub overload: OverloadMetrics,
}

/// Handles that no registry knows, for engines whose metrics nobody asks for.
impl Default for EngineMetrics {
    fn default() -> Self {
        EngineFamilies::new(&Registry::new()).of_model("")
    }
}

/// The metrics of all engines.
#[derive(Debug)]
pub(super) struct EngineFamilies {
    pages: IntGaugeVec,
    page_usage_ratio: GaugeVec,
    page_waste_ratio: GaugeVec,
    running_rows: IntGaugeVec,
    waiting_rows: IntGaugeVec,
    waiting_encodings: IntGaugeVec,
    step_rows: HistogramVec,
    step_seconds: HistogramVec,
    encoder_runs: IntCounterVec,
    encoder_tokens: IntCounterVec,
    cross_cache_hits: IntCounterVec,
    preemptions: IntCounterVec,
    drafts: IntCounterVec,
    draft_tokens: IntCounterVec,
    accepted_draft_tokens: IntCounterVec,
    mask_seconds: HistogramVec,
    late_masks: IntCounterVec,
    encoder: EncoderFamilies,
    steps: StepFamilies,
    overload: OverloadFamilies,
}

impl EngineFamilies {
    /// Registers the metrics, without any model yet.
    pub fn new(registry: &Registry) -> Self {
        let make = Families(registry);
        let gauges = |name, help| make.gauges(name, help, &[MODEL]);
        let counters = |name, help| make.counters(name, help, &[MODEL]);
        let usage = "Share of all pages that running and waiting requests hold.";
        let accepted = "Tokens that were drafted and right.";
        let hits = "Prompts whose source's cross K/V was there already.";
        Self {
            pages: make.gauges(
                "encdec_pages",
                "Pages of the K/V pool, by state; one of which a part was given back counts as what is left of it.",
                &["state", MODEL],
            ),
            page_usage_ratio: make.ratios("encdec_page_usage_ratio", usage),
            page_waste_ratio: make.ratios("encdec_page_waste_ratio", "Share of held page positions without a token."),
            running_rows: gauges("encdec_running_rows", "Sequences in the decode batch."),
            waiting_rows: gauges("encdec_waiting_rows", "Sequences that wait for pages or a row."),
            waiting_encodings: gauges("encdec_waiting_encodings", "Encoder requests that wait for the encoder."),
            step_rows: make.histograms(
                "encdec_step_rows",
                "Decode rows of an engine step.",
                buckets::STEP_ROWS.to_vec(),
            ),
            step_seconds: make.histograms(
                "encdec_step_seconds",
                "Duration of an engine step.",
                buckets::step_seconds(),
            ),
            encoder_runs: counters("encdec_encoder_runs_total", "Sources taken through the encoder."),
            encoder_tokens: counters("encdec_encoder_tokens_total", "Source tokens taken through the encoder."),
            cross_cache_hits: counters("encdec_cross_cache_hits_total", hits),
            preemptions: counters(
                "encdec_preemptions_total",
                "Sequences that gave up their pages to older or interactive ones.",
            ),
            drafts: counters("encdec_drafts_total", "Runs of tokens that were drafted."),
            draft_tokens: counters("encdec_draft_tokens_total", "Tokens that were drafted."),
            accepted_draft_tokens: counters("encdec_accepted_draft_tokens_total", accepted),
            mask_seconds: make.histograms(
                "encdec_mask_seconds",
                "Time of a thread for the mask of what may come next in an answer with a form.",
                buckets::mask_seconds(),
            ),
            late_masks: counters(
                "encdec_late_masks_total",
                "Rows that ran again because a mask came after their draw.",
            ),
            encoder: EncoderFamilies::new(registry),
            steps: StepFamilies::new(registry),
            overload: OverloadFamilies::new(registry),
        }
    }

    /// The handles of one model's engine; the same ones for the same name.
    pub fn of_model(&self, model: &str) -> EngineMetrics {
        let pages = |state| self.pages.with_label_values(&[state, model]);
        let labels = &[model];
        EngineMetrics {
            model: model.to_owned(),
            pages_free: pages("free"),
            pages_held: pages("held"),
            pages_cached: pages("cached"),
            page_usage_ratio: self.page_usage_ratio.with_label_values(labels),
            page_waste_ratio: self.page_waste_ratio.with_label_values(labels),
            running_rows: self.running_rows.with_label_values(labels),
            waiting_rows: self.waiting_rows.with_label_values(labels),
            waiting_encodings: self.waiting_encodings.with_label_values(labels),
            step_rows: self.step_rows.with_label_values(labels),
            step_seconds: self.step_seconds.with_label_values(labels),
            encoder_runs: self.encoder_runs.with_label_values(labels),
            encoder_tokens: self.encoder_tokens.with_label_values(labels),
            cross_cache_hits: self.cross_cache_hits.with_label_values(labels),
            preemptions: self.preemptions.with_label_values(labels),
            drafts: self.drafts.with_label_values(labels),
            draft_tokens: self.draft_tokens.with_label_values(labels),
            accepted_draft_tokens: self.accepted_draft_tokens.with_label_values(labels),
            mask_seconds: self.mask_seconds.with_label_values(labels),
            late_masks: self.late_masks.with_label_values(labels),
            encoder: self.encoder.of_model(model),
            steps: self.steps.of_model(model),
            overload: self.overload.of_model(model),
        }
    }
}
