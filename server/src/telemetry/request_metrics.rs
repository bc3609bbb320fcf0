//! Metrics of one model's requests: how they end, how long they and their tokens take, and their lengths.
//!
//! Counted by `api`.

use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry};

use super::buckets;
use super::families::{Families, MODEL};
use super::outcome::Outcome;
use crate::request::FinishReason;

/// Handles to the metrics of one model's requests.
#[derive(Debug)]
pub struct RequestMetrics {
    /// HTTP requests for models that are being answered.
    pub open_requests: IntGauge,
    /// Source tokens of accepted requests.
    pub source_tokens: IntCounter,
    /// Source tokens whose cross K/V was there already.
    pub cached_source_tokens: IntCounter,
    /// Source tokens of each prompt.
    pub source_length: Histogram,
    /// Tokens generated for each choice.
    pub target_length: Histogram,
    /// Tokens generated for clients.
    pub generated_tokens: IntCounter,
    /// Time from a prompt's submission to the engine until it runs.
    pub queue_seconds: Histogram,
    /// Time from a request's arrival to its first token.
    pub first_token_seconds: Histogram,
    /// Time between two tokens of a choice.
    pub token_gap_seconds: Histogram,
    /// Mean time between the tokens of a choice.
    pub time_per_token_seconds: Histogram,
    /// Time from the beginning of a prompt's run to its first token.
    pub prefill_seconds: Histogram,
    /// Time from a prompt's first token to its last one.
    pub decode_seconds: Histogram,
    /// Time from the beginning of a prompt's run to its last token.
    pub run_seconds: Histogram,
    /// Choices that a request wants of each prompt.
    pub asked_choices: Histogram,
    /// Most tokens that a request wants of each choice.
    pub asked_tokens: Histogram,
    /// Time from a request's arrival to the end of its answer.
    pub request_seconds: Histogram,
    /// Forms of answers that were compiled already.
    pub form_cache_hits: IntCounter,
    /// Time until a form of an answer is compiled or refused.
    pub form_seconds: Histogram,
    /// Time to tokenise one request.
    pub tokenize_seconds: Histogram,
    model: String,
    requests: IntCounterVec,
    refusals: IntCounterVec,
    finished_choices: IntCounterVec,
}

impl RequestMetrics {
    /// Name of the model; empty where it is not known.
    pub fn model(&self) -> &str {
        &self.model
    }

    /// Counts the end of an HTTP request for a model.
    pub fn count_request(&self, outcome: Outcome) {
        self.requests.with_label_values(&[outcome.label(), &self.model]).inc();
    }

    /// Counts a request that was answered with an error, by its code.
    pub fn count_refusal(&self, reason: &str) {
        self.refusals.with_label_values(&[reason, &self.model]).inc();
    }

    /// Counts the end of a choice.
    pub fn count_finish(&self, reason: FinishReason) {
        self.finished_choices.with_label_values(&[reason.name(), &self.model]).inc();
    }

    /// Number of requests that ended so.
    pub fn requests(&self, outcome: Outcome) -> u64 {
        self.requests.with_label_values(&[outcome.label(), &self.model]).get()
    }
}

/// The request metrics of all models.
#[derive(Debug)]
pub(super) struct RequestFamilies {
    requests: IntCounterVec,
    refusals: IntCounterVec,
    finished_choices: IntCounterVec,
    open_requests: IntGaugeVec,
    source_tokens: IntCounterVec,
    cached_source_tokens: IntCounterVec,
    generated_tokens: IntCounterVec,
    form_cache_hits: IntCounterVec,
    source_length: HistogramVec,
    target_length: HistogramVec,
    asked_choices: HistogramVec,
    asked_tokens: HistogramVec,
    times: Times,
}

#[derive(Debug)]
struct Times {
    queue: HistogramVec,
    first_token: HistogramVec,
    token_gap: HistogramVec,
    time_per_token: HistogramVec,
    prefill: HistogramVec,
    decode: HistogramVec,
    run: HistogramVec,
    request: HistogramVec,
    tokenize: HistogramVec,
    form: HistogramVec,
}

impl Times {
    fn new(make: &Families<'_>) -> Self {
        let first_token = "From a request's arrival to its first token.";
        let request = "From a completed request's arrival to the end of its answer.";
        let queue = "From a prompt's submission to the engine until it runs.";
        let tokenize = "Tokenising the texts of a request.";
        let form = "Compiling the form of an answer, until it can be followed or is refused.";
        let gap = "Between two tokens of a choice.";
        let per_token = "Mean time between the tokens of a finished choice of several tokens.";
        let prefill = "From the beginning of a prompt's run to its first token.";
        let decode = "From a prompt's first token to its last one, of all its choices.";
        let run = "From the beginning of a prompt's run to its last token, of all its choices.";
        let of_request = |name, help| make.histograms(name, help, buckets::request_seconds());
        Self {
            queue: make.histograms("encdec_queue_seconds", queue, buckets::queue_seconds()),
            first_token: make.histograms("encdec_first_token_seconds", first_token, buckets::first_token_seconds()),
            token_gap: make.histograms("encdec_token_gap_seconds", gap, buckets::step_seconds()),
            time_per_token: make.histograms("encdec_time_per_token_seconds", per_token, buckets::step_seconds()),
            prefill: of_request("encdec_prefill_seconds", prefill),
            decode: of_request("encdec_decode_seconds", decode),
            run: of_request("encdec_run_seconds", run),
            request: of_request("encdec_request_seconds", request),
            form: make.histograms("encdec_form_compile_seconds", form, buckets::form_seconds()),
            tokenize: make.histograms("encdec_tokenize_seconds", tokenize, buckets::TOKENIZE_SECONDS.to_vec()),
        }
    }
}

impl RequestFamilies {
    /// Registers the metrics, without any model yet.
    pub fn new(registry: &Registry) -> Self {
        let make = Families(registry);
        let counters = |name, help| make.counters(name, help, &[MODEL]);
        let by = |label, name, help| make.counters(name, help, &[label, MODEL]);
        let refusals = "Requests on any path that were answered with an error, by its code.";
        let target = "Tokens generated for each choice, end tokens included.";
        let cached = "Source tokens whose cross K/V was there already.";
        let (choices, most) =
            ("Choices that a request wants of each prompt.", "Most tokens that a request wants of each choice.");
        Self {
            requests: by("outcome", "encdec_requests_total", "HTTP requests for models, by how they ended."),
            refusals: by("reason", "encdec_refusals_total", refusals),
            finished_choices: by("reason", "encdec_finished_choices_total", "Choices that ended, by why."),
            open_requests: make.gauges(
                "encdec_open_requests",
                "HTTP requests for models that are being answered.",
                &[MODEL],
            ),
            source_tokens: counters("encdec_source_tokens_total", "Source tokens of accepted requests."),
            cached_source_tokens: counters("encdec_cached_source_tokens_total", cached),
            form_cache_hits: counters("encdec_form_cache_hits_total", "Forms of answers that were compiled already."),
            generated_tokens: counters("encdec_generated_tokens_total", "Tokens generated, end tokens included."),
            source_length: make.histograms(
                "encdec_source_length_tokens",
                "Source tokens of each prompt.",
                buckets::lengths(),
            ),
            target_length: make.histograms("encdec_target_length_tokens", target, buckets::lengths()),
            asked_choices: make.histograms("encdec_asked_choices", choices, buckets::lengths()),
            asked_tokens: make.histograms("encdec_asked_tokens", most, buckets::lengths()),
            times: Times::new(&make),
        }
    }

    /// The handles of one model, all at zero at first; the same ones for the same name.
    pub fn of_model(&self, model: &str) -> RequestMetrics {
        for outcome in Outcome::ALL {
            self.requests.with_label_values(&[outcome.label(), model]);
        }
        for reason in [FinishReason::Stop, FinishReason::Length] {
            self.finished_choices.with_label_values(&[reason.name(), model]);
        }
        let labels = &[model];
        RequestMetrics {
            open_requests: self.open_requests.with_label_values(labels),
            source_tokens: self.source_tokens.with_label_values(labels),
            cached_source_tokens: self.cached_source_tokens.with_label_values(labels),
            source_length: self.source_length.with_label_values(labels),
            target_length: self.target_length.with_label_values(labels),
            generated_tokens: self.generated_tokens.with_label_values(labels),
            queue_seconds: self.times.queue.with_label_values(labels),
            first_token_seconds: self.times.first_token.with_label_values(labels),
            token_gap_seconds: self.times.token_gap.with_label_values(labels),
            time_per_token_seconds: self.times.time_per_token.with_label_values(labels),
            prefill_seconds: self.times.prefill.with_label_values(labels),
            decode_seconds: self.times.decode.with_label_values(labels),
            run_seconds: self.times.run.with_label_values(labels),
            asked_choices: self.asked_choices.with_label_values(labels),
            asked_tokens: self.asked_tokens.with_label_values(labels),
            request_seconds: self.times.request.with_label_values(labels),
            form_cache_hits: self.form_cache_hits.with_label_values(labels),
            form_seconds: self.times.form.with_label_values(labels),
            tokenize_seconds: self.times.tokenize.with_label_values(labels),
            model: model.to_owned(),
            requests: self.requests.clone(),
            refusals: self.refusals.clone(),
            finished_choices: self.finished_choices.clone(),
        }
    }
}
