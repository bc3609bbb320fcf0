//! The figures as JSON, under the keys of `vllm bench serve`.

use serde_json::{Map, Value, json};

use super::{Report, Step};
use crate::measurement::Figures;

/// Figures that count things, which are written without a fraction.
const COUNTS: [&str; 7] = [
    "completed",
    "failed",
    "left",
    "total_input_tokens",
    "total_output_tokens",
    "max_output_tokens_per_s",
    "max_concurrent_requests",
];

/// The report as JSON.
pub fn json(report: &Report) -> String {
    let mut fields = Map::new();
    let mut put = |key: &str, value: Value| {
        fields.insert(key.to_owned(), value);
    };
    put("date", jiff::Timestamp::now().strftime("%Y%m%d-%H%M%S").to_string().into());
    put("backend", "openai".into());
    put("model_id", report.model.as_str().into());
    put("tokenizer_id", Value::Null);
    put("num_prompts", report.figures.counts.ended.into());
    put("request_rate", report.rate().map_or_else(|| "inf".into(), Value::from));
    put("burstiness", report.scenario.load.gamma_shape().map_or(Value::Null, Value::from));
    put("max_concurrency", report.concurrency().map_or(Value::Null, Value::from));
    put("seed", report.scenario.seed.into());
    fields.extend(figures(&report.figures));
    let mut put = |key: &str, value: Value| {
        fields.insert(key.to_owned(), value);
    };
    put("errors", json!(report.figures.errors));
    put("not_good", json!(report.misses));
    if !report.steps.is_empty() {
        put("sweep", report.steps.iter().map(step).collect());
        put("highest_kept_rate", json!(report.highest_kept()));
    }
    put("timeline", json!(report.figures.seconds));
    put("server", json!(report.samples));
    let mut text = serde_json::to_string_pretty(&fields).expect("a map of JSON values can be written");
    text.push('\n');
    text
}

fn figures(figures: &Figures) -> Map<String, Value> {
    let keyed = figures.keyed().into_iter().map(|figure| {
        let value = match figure.key.as_str() {
            key if COUNTS.contains(&key) => Value::from(figure.value as u64),
            // Without a limit there is no goodput.
            "request_goodput" if !figures.has_limits => Value::Null,
            _ => figure.value.into(),
        };
        (figure.key, value)
    });
    keyed.collect()
}

fn step(step: &Step) -> Value {
    let mut fields = Map::new();
    fields.insert("request_rate".to_owned(), step.rate.into());
    fields.insert("kept_share".to_owned(), step.share.into());
    fields.extend(figures(&step.figures));
    Value::Object(fields)
}
