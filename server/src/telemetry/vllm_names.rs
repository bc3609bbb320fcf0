//! The metrics once more under vLLM's names, for dashboards, autoscalers and gateways that read those.
//!
//! Made of what was gathered whenever metrics are asked for; nothing is counted twice. Names, types and labels are
//! those of `vllm/v1/metrics/loggers.py` (2026). Where its unit is a request, ours is a prompt or a choice of one.

use std::collections::BTreeMap;

use kernels::PAGE_TOKENS;
use prometheus::proto::{Gauge, LabelPair, Metric, MetricFamily, MetricType};

use super::families::MODEL;

/// Label of the model's name.
const MODEL_NAME: &str = "model_name";
/// Every model has one engine.
const ENGINE: (&str, &str) = ("engine", "0");
const PAGES: &str = "encdec_pages";
const CACHE_CONFIG: &str = "vllm:cache_config_info";

/// A metric of vLLM.
struct Alias {
    /// Its name.
    name: &'static str,
    /// Metrics whose sum it is.
    parts: &'static [Part],
}

/// Samples of one of our metrics, of which all labels but the model are dropped.
struct Part {
    /// Its name.
    of: &'static str,
    /// A label and the only value of it that counts.
    only: Option<(&'static str, &'static str)>,
    /// A label that the samples get.
    label: Option<(&'static str, &'static str)>,
}

/// All samples of a metric.
const fn all(of: &'static str) -> Part {
    Part { of, only: None, label: None }
}

/// Choices or requests that ended so, under vLLM's name of the reason.
const fn ended(of: &'static str, only: (&'static str, &'static str), reason: &'static str) -> Part {
    Part { of, only: Some(only), label: Some(("finished_reason", reason)) }
}

const WAITING: [Part; 2] = [all("encdec_waiting_rows"), all("encdec_waiting_encodings")];
const WAITING_FOR_CAPACITY: [Part; 2] = [
    Part { label: Some(("reason", "capacity")), ..WAITING[0] },
    Part { label: Some(("reason", "capacity")), ..WAITING[1] },
];
const ENDED: [Part; 4] = [
    ended("encdec_finished_choices_total", ("reason", "stop"), "stop"),
    ended("encdec_finished_choices_total", ("reason", "length"), "length"),
    ended("encdec_requests_total", ("outcome", "cancelled"), "abort"),
    ended("encdec_requests_total", ("outcome", "failed"), "error"),
];

const ALIASES: [Alias; 28] = [
    Alias { name: "vllm:num_requests_running", parts: &[all("encdec_running_rows")] },
    Alias { name: "vllm:num_requests_waiting", parts: &WAITING },
    Alias { name: "vllm:num_requests_waiting_by_reason", parts: &WAITING_FOR_CAPACITY },
    Alias { name: "vllm:kv_cache_usage_perc", parts: &[all("encdec_page_usage_ratio")] },
    Alias { name: "vllm:num_preemptions_total", parts: &[all("encdec_preemptions_total")] },
    Alias { name: "vllm:prompt_tokens_total", parts: &[all("encdec_source_tokens_total")] },
    Alias { name: "vllm:prompt_tokens_cached_total", parts: &[all("encdec_cached_source_tokens_total")] },
    Alias { name: "vllm:prefix_cache_queries_total", parts: &[all("encdec_source_tokens_total")] },
    Alias { name: "vllm:prefix_cache_hits_total", parts: &[all("encdec_cached_source_tokens_total")] },
    Alias { name: "vllm:generation_tokens_total", parts: &[all("encdec_generated_tokens_total")] },
    Alias { name: "vllm:request_success_total", parts: &ENDED },
    Alias { name: "vllm:spec_decode_num_drafts_total", parts: &[all("encdec_drafts_total")] },
    Alias { name: "vllm:spec_decode_num_draft_tokens_total", parts: &[all("encdec_draft_tokens_total")] },
    Alias { name: "vllm:spec_decode_num_accepted_tokens_total", parts: &[all("encdec_accepted_draft_tokens_total")] },
    Alias { name: "vllm:iteration_tokens_total", parts: &[all("encdec_step_tokens")] },
    Alias { name: "vllm:time_to_first_token_seconds", parts: &[all("encdec_first_token_seconds")] },
    Alias { name: "vllm:inter_token_latency_seconds", parts: &[all("encdec_token_gap_seconds")] },
    Alias { name: "vllm:time_per_output_token_seconds", parts: &[all("encdec_token_gap_seconds")] },
    Alias { name: "vllm:request_time_per_output_token_seconds", parts: &[all("encdec_time_per_token_seconds")] },
    Alias { name: "vllm:e2e_request_latency_seconds", parts: &[all("encdec_request_seconds")] },
    Alias { name: "vllm:request_queue_time_seconds", parts: &[all("encdec_queue_seconds")] },
    Alias { name: "vllm:request_inference_time_seconds", parts: &[all("encdec_run_seconds")] },
    Alias { name: "vllm:request_prefill_time_seconds", parts: &[all("encdec_prefill_seconds")] },
    Alias { name: "vllm:request_decode_time_seconds", parts: &[all("encdec_decode_seconds")] },
    Alias { name: "vllm:request_prompt_tokens", parts: &[all("encdec_source_length_tokens")] },
    Alias { name: "vllm:request_generation_tokens", parts: &[all("encdec_target_length_tokens")] },
    Alias { name: "vllm:request_params_n", parts: &[all("encdec_asked_choices")] },
    Alias { name: "vllm:request_params_max_tokens", parts: &[all("encdec_asked_tokens")] },
];

/// The families of vLLM's names for what these families say.
pub(super) fn aliases(families: &[MetricFamily]) -> Vec<MetricFamily> {
    let of_name = |name: &str| families.iter().find(|family| family.name() == name);
    let aliases = ALIASES.iter().filter_map(|alias| alias.family(of_name));
    aliases.chain(of_name(PAGES).map(cache_config)).collect()
}

impl Alias {
    fn family<'a>(&self, of_name: impl Fn(&str) -> Option<&'a MetricFamily>) -> Option<MetricFamily> {
        let mut family = MetricFamily::default();
        let mut metrics: BTreeMap<Vec<String>, Metric> = BTreeMap::new();
        for part in self.parts {
            let Some(own) = of_name(part.of) else { continue };
            family.set_field_type(own.get_field_type());
            for metric in own.get_metric().iter().filter(|metric| part.has(metric)) {
                let labels = labels_of(metric, part.label);
                let values = labels.iter().map(|label| label.value().to_owned()).collect();
                metrics.entry(values).and_modify(|sum| add(sum, metric)).or_insert_with(|| {
                    let mut metric = metric.clone();
                    metric.set_label(labels);
                    metric
                });
            }
        }
        let own: Vec<_> = self.parts.iter().map(|part| part.of).collect();
        family.set_name(self.name.to_owned());
        family.set_help(format!("vLLM's name for {}.", own.join(", ")));
        family.set_metric(metrics.into_values().collect());
        (!family.get_metric().is_empty()).then_some(family)
    }
}

impl Part {
    fn has(&self, metric: &Metric) -> bool {
        let is_only =
            |(name, value)| metric.get_label().iter().any(|pair| pair.name() == name && pair.value() == value);
        self.only.is_none_or(is_only)
    }
}

/// Labels of a sample, by name.
fn labels_of(metric: &Metric, added: Option<(&str, &str)>) -> Vec<LabelPair> {
    let model = metric.get_label().iter().find(|label| label.name() == MODEL).map_or("", LabelPair::value);
    let mut labels = vec![label(ENGINE), label((MODEL_NAME, model))];
    labels.extend(added.map(label));
    labels.sort_by(|a, b| a.name().cmp(b.name()));
    labels
}

fn label((name, value): (&str, &str)) -> LabelPair {
    let mut pair = LabelPair::default();
    pair.set_name(name.to_owned());
    pair.set_value(value.to_owned());
    pair
}

/// Adds a counter or a gauge to another one. No histogram has several parts.
fn add(sum: &mut Metric, metric: &Metric) {
    let mut counter = sum.get_counter().clone();
    counter.set_value(counter.get_value() + metric.get_counter().get_value());
    sum.set_counter(counter);
    let mut gauge = sum.get_gauge().clone();
    gauge.set_value(gauge.get_value() + metric.get_gauge().get_value());
    sum.set_gauge(gauge);
}

/// Size of the page pool of each model, which vLLM tells as labels.
fn cache_config(pages: &MetricFamily) -> MetricFamily {
    let mut by_model: BTreeMap<&str, f64> = BTreeMap::new();
    for metric in pages.get_metric() {
        let model = metric.get_label().iter().find(|label| label.name() == MODEL).map_or("", LabelPair::value);
        *by_model.entry(model).or_default() += metric.get_gauge().get_value();
    }
    let (block_size, mut one) = (PAGE_TOKENS.to_string(), Gauge::default());
    one.set_value(1.0);
    let metrics = by_model.into_iter().map(|(model, pages)| {
        let blocks = pages.to_string();
        let labels = [("block_size", block_size.as_str()), ENGINE, (MODEL_NAME, model), ("num_gpu_blocks", &blocks)];
        let mut metric = Metric::default();
        metric.set_label(labels.map(label).to_vec());
        metric.set_gauge(one.clone());
        metric
    });
    let mut family = MetricFamily::default();
    family.set_name(CACHE_CONFIG.to_owned());
    family.set_help(format!("vLLM's name for the sum of {PAGES}; always 1."));
    family.set_field_type(MetricType::GAUGE);
    family.set_metric(metrics.collect());
    family
}

#[cfg(test)]
mod tests {
    use super::super::metrics::{MetricNames, Metrics};
    use super::super::outcome::Outcome;
    use super::*;
    use crate::request::FinishReason;

    fn metrics() -> Metrics {
        Metrics::with_names(&["a", "b"], MetricNames::OwnAndVllm)
    }

    #[test]
    fn the_same_values_are_told_under_vllm_s_names_and_labels() {
        let metrics = metrics();
        let (engine, requests) = (metrics.model("b").engine, metrics.model("b").requests);
        engine.running_rows.set(3);
        engine.waiting_rows.set(4);
        engine.waiting_encodings.set(2);
        engine.page_usage_ratio.set(0.25);
        engine.pages_free.set(30);
        engine.pages_held.set(10);
        requests.count_finish(FinishReason::Length);
        requests.count_request(Outcome::Cancelled);
        requests.token_gap_seconds.observe(0.000_15);
        let text = metrics.text();
        for line in [
            "vllm:num_requests_running{engine=\"0\",model_name=\"b\"} 3",
            "vllm:num_requests_running{engine=\"0\",model_name=\"a\"} 0",
            "vllm:num_requests_waiting{engine=\"0\",model_name=\"b\"} 6",
            "vllm:num_requests_waiting_by_reason{engine=\"0\",model_name=\"b\",reason=\"capacity\"} 6",
            "vllm:kv_cache_usage_perc{engine=\"0\",model_name=\"b\"} 0.25",
            "vllm:request_success_total{engine=\"0\",finished_reason=\"length\",model_name=\"b\"} 1",
            "vllm:request_success_total{engine=\"0\",finished_reason=\"abort\",model_name=\"b\"} 1",
            "vllm:request_success_total{engine=\"0\",finished_reason=\"stop\",model_name=\"b\"} 0",
            "vllm:inter_token_latency_seconds_bucket{engine=\"0\",model_name=\"b\",le=\"0.00016\"} 1",
            "vllm:inter_token_latency_seconds_bucket{engine=\"0\",model_name=\"b\",le=\"0.00014\"} 0",
            "# TYPE vllm:prompt_tokens_total counter",
            "# TYPE vllm:e2e_request_latency_seconds histogram",
            "vllm:cache_config_info{block_size=\"16\",engine=\"0\",model_name=\"b\",num_gpu_blocks=\"40\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
        }
    }

    #[test]
    fn every_alias_is_of_metrics_that_there_are_and_in_the_documented_table() {
        let all = metrics().families();
        let of_name = |name: &str| all.iter().find(|family| family.name() == name);
        let row = |alias: &Alias| {
            let own: Vec<_> = alias.parts.iter().map(|part| of_name(part.of).unwrap().name()).collect();
            let mut own: Vec<_> = own.iter().map(|name| format!("`{name}`")).collect();
            own.dedup();
            format!("| `{}` | {} |", alias.name, own.join(", "))
        };
        let mut rows: Vec<_> = ALIASES.iter().map(row).collect();
        rows.push(format!("| `{CACHE_CONFIG}` | `{PAGES}` |"));
        let page = include_str!("../../../docs/operations.md");
        let documented: Vec<_> = page.lines().filter(|line| line.starts_with("| `vllm:")).collect();
        assert_eq!(rows, documented, "docs/operations.md");
    }

    #[test]
    fn without_the_switch_no_name_is_vllm_s() {
        assert!(!Metrics::of_models(&["a"]).text().contains("vllm:"));
    }
}
