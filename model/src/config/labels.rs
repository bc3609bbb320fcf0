//! The names of a classifier's classes: `id2label` and `label2id`.
//!
//! Read and written by the configurations of classifiers.

use std::collections::HashSet;

use serde_json::{Map, Value, json};

use super::fields::{Fields, Problems, brief};

/// The number of classes that transformers assumes where the file names none.
const UNNAMED_LABELS: usize = 2;

/// The names in their order; without `id2label`, those that transformers gives. `None` only when a problem was added.
pub(super) fn read(top: &Fields<'_>, problems: &mut Problems) -> Option<Vec<String>> {
    let Some(value) = top.get("id2label") else {
        return Some((0..UNNAMED_LABELS).map(|label| format!("LABEL_{label}")).collect());
    };
    let named = value.as_object().filter(|names| !names.is_empty());
    let labels = named.and_then(|names| (0..names.len()).map(|id| name(names, id)).collect());
    match labels.as_deref().map(named_twice) {
        None => problems.add("id2label", format!("is {}, not names for the numbers from 0", brief(value))),
        Some(Some(label)) => problems.add("id2label", format!("names {label:?} twice")),
        Some(None) => {}
    }
    labels
}

/// The names that are written, from class 0 on; none where class 0 has no name.
pub(super) fn written(config: &Value) -> Vec<String> {
    let names = config["id2label"].as_object();
    (0..).map_while(|id| name(names?, id)).collect()
}

/// Names the classes of a configuration.
pub(super) fn write(config: &mut Value, labels: &[String]) {
    let by_id: Map<String, Value> =
        labels.iter().enumerate().map(|(id, label)| (id.to_string(), json!(label))).collect();
    let by_label: Map<String, Value> =
        labels.iter().enumerate().map(|(id, label)| (label.clone(), json!(id))).collect();
    config["id2label"] = Value::Object(by_id);
    config["label2id"] = Value::Object(by_label);
}

/// A name that stands for more than one class, if there is one: rows of the second class would count as the first.
pub(crate) fn named_twice(labels: &[String]) -> Option<&String> {
    let mut seen = HashSet::new();
    labels.iter().find(|label| !seen.insert(*label))
}

fn name(names: &Map<String, Value>, id: usize) -> Option<String> {
    names.get(&id.to_string())?.as_str().map(str::to_owned)
}
