//! Lays configuration files and flags over the defaults, key by key, and remembers the origin of each value.
//!
//! Called by `config`. The embedded defaults are the schema of keys and types. Ranges are checked in `reader`.

use std::collections::BTreeMap;

use toml::{Table, Value};

use super::{Fault, Problem};

/// Settings from one place, as sections of keys.
#[derive(Debug, Clone)]
pub struct Layer {
    /// Origin of the settings, for error messages: a file's path or "command line".
    pub origin: String,
    /// `section -> key -> value`; keys that are left out keep the value of the layer below.
    pub table: Table,
}

/// A key's value and the layer that set it.
#[derive(Debug, Clone)]
pub(super) struct Setting {
    pub(super) value: Value,
    pub(super) origin: String,
}

/// Every setting by its full name (`section.key`).
pub(super) type Settings = BTreeMap<String, Setting>;

/// Settings that exclude each other: a layer that sets one resets the other.
const RIVALS: [(&str, &str); 2] = [("path", "shape"), ("shape", "path")];

/// Merges `layers`; the first one holds the complete defaults, and later ones win.
///
/// Unknown keys and wrong types are added to `problems` and otherwise ignored.
pub(super) fn merge(layers: &[Layer], problems: &mut Vec<Problem>) -> Settings {
    let mut settings = Settings::new();
    let Some((defaults, others)) = layers.split_first() else { return settings };
    for (section, keys) in &defaults.table {
        for (key, value) in keys.as_table().into_iter().flatten() {
            let setting = Setting { value: value.clone(), origin: defaults.origin.clone() };
            settings.insert(format!("{section}.{key}"), setting);
        }
    }
    for layer in others {
        overlay(&mut settings, &defaults.table, layer, problems);
    }
    settings
}

fn overlay(settings: &mut Settings, schema: &Table, layer: &Layer, problems: &mut Vec<Problem>) {
    let mut report =
        |key: &str, fault| problems.push(Problem { origin: layer.origin.clone(), key: key.to_owned(), fault });
    for (section, keys) in &layer.table {
        let Some(known) = schema.get(section).and_then(Value::as_table) else {
            report(section, Fault::Unknown { known: names(schema) });
            continue;
        };
        let Some(keys) = keys.as_table() else {
            report(section, Fault::WrongType { expected: "table", found: keys.type_str() });
            continue;
        };
        for (key, value) in keys {
            let name = format!("{section}.{key}");
            let Some(default) = known.get(key) else {
                report(&name, Fault::Unknown { known: names(known) });
                continue;
            };
            if !value.same_type(default) {
                report(&name, Fault::WrongType { expected: default.type_str(), found: value.type_str() });
                continue;
            }
            settings.insert(name, Setting { value: value.clone(), origin: layer.origin.clone() });
        }
    }
    if let Some(model) = layer.table.get("model").and_then(Value::as_table) {
        settle_rivals(settings, model, &mut report);
    }
}

/// A checkpoint replaces a shape of an earlier layer, and the other way round; both in one layer are a contradiction.
fn settle_rivals(settings: &mut Settings, model: &Table, report: &mut impl FnMut(&str, Fault)) {
    let given = |key: &str| model.get(key).and_then(Value::as_str).is_some_and(|text| !text.is_empty());
    if given("path") && given("shape") {
        report("model.shape", Fault::Excludes { other: "model.path" });
        return;
    }
    for (winner, loser) in RIVALS {
        if given(winner)
            && let Some(setting) = settings.get_mut(&format!("model.{loser}"))
        {
            setting.value = Value::String(String::new());
        }
    }
}

fn names(table: &Table) -> Vec<String> {
    table.keys().cloned().collect()
}
