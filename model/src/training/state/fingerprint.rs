//! The settings that must not change when a run is resumed: those that affect results.
//!
//! Called by `state`. Stages that are still to come may change; `stages` compares the steps that were taken.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::training::settings::Settings;

/// Settings that may change: they affect no weight, or are compared in another way: the plan of the stages step by
/// step, the rows by their hash.
const FREE: [&str; 11] = [
    "out",
    "threads",
    "data.cache",
    "data.train",
    "data.valid",
    "data.bad_rows",
    "model.save_as",
    "checkpoints",
    "validation",
    "stage",
    "cross_attention_warmup_steps",
];

/// The settings that affect results, by their keys (such as `model.dropout`), each as JSON. They are those that have
/// the defaults of the model's generation.
pub fn fingerprint(settings: &Settings) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    collect("", &serde_json::to_value(settings).expect("settings are JSON"), &mut found);
    found
}

fn collect(prefix: &str, value: &Value, found: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let key = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
                if !FREE.contains(&key.as_str()) {
                    collect(&key, value, found);
                }
            }
        }
        // An empty setting and a missing one are the same.
        Value::Null => {}
        other => {
            found.insert(prefix.to_owned(), other.to_string());
        }
    }
}

/// Every key whose value differs, with both values.
pub fn differences(then: &BTreeMap<String, String>, now: &BTreeMap<String, String>) -> Vec<String> {
    let keys: std::collections::BTreeSet<&String> = then.keys().chain(now.keys()).collect();
    let shown = |values: &BTreeMap<String, String>, key| values.get(key).cloned().unwrap_or_else(|| "unset".to_owned());
    let differing = keys.into_iter().filter(|key| then.get(*key) != now.get(*key));
    differing.map(|key| format!("{key}: was {}, is {}", shown(then, key), shown(now, key))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(change: impl FnOnce(&mut Value)) -> Settings {
        let mut value = serde_json::json!({
            "out": "run",
            "model": { "init": "base" },
            "objective": { "kind": "seq2seq" },
            "data": { "train": ["a.jsonl"] },
            "stage": [{ "steps": 10, "learning_rate": 0.1 }],
        });
        change(&mut value);
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn what_reaches_no_weight_may_change() {
        let changed = settings(|value| {
            value["out"] = "elsewhere".into();
            value["threads"] = 3.into();
            value["data"]["train"] = serde_json::json!(["moved/a.jsonl"]);
            value["data"]["valid"] = serde_json::json!(["b.jsonl"]);
            value["validation"] = serde_json::json!({ "samples": 2 });
            value["checkpoints"] = serde_json::json!({ "keep": 9 });
            value["model"]["save_as"] = "f32".into();
            value["stage"][0]["steps"] = 20.into();
        });
        assert_eq!(fingerprint(&settings(|_| {})), fingerprint(&changed));
    }

    #[test]
    fn every_key_that_reaches_the_arithmetic_is_named_with_both_values() {
        let changed = settings(|value| {
            value["seed"] = 7.into();
            value["model"]["dropout"] = 0.5.into();
            value["objective"] = serde_json::json!({ "kind": "ul2", "mix": "t5gemma2" });
            value["data"]["packing"] = "packed".into();
            value["distillation"] = serde_json::json!({ "teacher": "big" });
        });
        let found = differences(&fingerprint(&settings(|_| {})), &fingerprint(&changed));
        let named: Vec<&str> = found.iter().map(|line| line.split(':').next().unwrap()).collect();
        let expected = [
            "data.packing",
            "distillation.teacher",
            "distillation.temperature",
            "distillation.weight",
            "model.dropout",
            "objective.kind",
            "objective.mix",
            "objective.sentinels",
            "objective.separator",
            "seed",
        ];
        assert_eq!(named, expected);
        assert!(found.contains(&"seed: was 1, is 7".to_owned()));
        assert!(found.contains(&"distillation.teacher: was unset, is \"big\"".to_owned()));
    }
}
