//! Lays configuration files and flags over the defaults, key by key, and remembers the origin of each value.
//!
//! Called by `config`. The embedded defaults are the schema of keys and types. Ranges are checked in `reader`.

use std::collections::BTreeMap;

use toml::{Table, Value};

use super::{Fault, Problem};

/// Settings from one place, as sections of keys.
#[derive(Debug, Clone)]
pub struct Layer {
    /// Origin of the settings, for error messages: a file's path, "environment" or "command line".
    pub origin: String,
    /// `section -> key -> value`; keys that are left out keep the value of the layer below. `model` is a table, which
    /// concerns every model, or a list of tables, one for each model.
    pub table: Table,
}

/// A key's value, the layer that set it, and its name there.
#[derive(Debug, Clone)]
pub(super) struct Setting {
    pub(super) value: Value,
    pub(super) origin: String,
    /// Full name for messages, such as `limits.prompts` or `model[1].limits.running_rows`.
    pub(super) name: String,
}

/// Settings by `section.key`.
pub(super) type Settings = BTreeMap<String, Setting>;

const MODEL: &str = "model";
const NAME: &str = "model.served_name";
/// Settings that exclude each other: a layer that sets one resets the other.
const RIVALS: [(&str, &str); 2] = [("path", "shape"), ("shape", "path")];
/// Sections whose keys a model may set for itself, with the keys; none for all of them.
const SECTIONS_OF_A_MODEL: [(&str, Option<&[&str]>); 2] = [("cuda", None), ("limits", Some(&ENGINE_LIMITS))];
/// Limits that each model has for itself. All others concern requests and connections, whatever their model.
const ENGINE_LIMITS: [&str; 10] = [
    "overload_wait_percent",
    "page_pool_bytes",
    "queue_wait_s",
    "queued_rows",
    "request_rows",
    "running_rows",
    "source_tokens",
    "step_encoder_tokens",
    "step_rows",
    "target_tokens",
];

/// Merges `layers` into the complete settings of each model, at least one. The first layer holds the complete defaults,
/// and later ones win.
///
/// Unknown keys and wrong types are added to `problems` and otherwise ignored.
pub(super) fn merge(layers: &[Layer], problems: &mut Vec<Problem>) -> Vec<Settings> {
    let Some((defaults, others)) = layers.split_first() else { return Vec::new() };
    let mut common = Settings::new();
    for (section, keys) in &defaults.table {
        for (key, value) in keys.as_table().into_iter().flatten() {
            let name = format!("{section}.{key}");
            common.insert(name.clone(), Setting { value: value.clone(), origin: defaults.origin.clone(), name });
        }
    }
    let mut merge = Merge {
        schema: &defaults.table,
        common,
        every_model: Settings::new(),
        models: vec![Settings::new()],
        problems,
    };
    others.iter().for_each(|layer| merge.lay(layer));
    let Merge { common, models, .. } = merge;
    let complete = |own: Settings| {
        let mut settings = common.clone();
        settings.extend(own);
        settings
    };
    models.into_iter().map(complete).collect()
}

struct Merge<'a> {
    schema: &'a Table,
    /// Complete settings.
    common: Settings,
    /// Keys that tables named `model` set.
    every_model: Settings,
    /// Keys that are set for each model, those of `every_model` included.
    models: Vec<Settings>,
    problems: &'a mut Vec<Problem>,
}

/// A table and its place: the layer and its name there.
#[derive(Clone, Copy)]
struct Place<'a> {
    table: &'a Table,
    origin: &'a str,
    name: &'a str,
}

impl Merge<'_> {
    fn lay(&mut self, layer: &Layer) {
        let origin = layer.origin.as_str();
        for (section, value) in &layer.table {
            let Some(known) = self.schema.get(section).and_then(Value::as_table) else {
                self.report(origin, section, Fault::Unknown { known: names(self.schema) });
                continue;
            };
            match value {
                Value::Array(list) if section == MODEL => self.list(origin, list),
                Value::Table(table) if section == MODEL => {
                    let own = self.of_a_model(Place { table, origin, name: section });
                    self.check_names(origin, &own);
                    for settings in self.models.iter_mut().chain([&mut self.every_model]) {
                        settings.extend(own.clone());
                    }
                }
                Value::Table(table) => {
                    let read = self.section(Place { table, origin, name: section }, section, &names(known));
                    self.common.extend(read);
                }
                other => {
                    self.report(origin, section, Fault::WrongType { expected: "table", found: other.type_str() });
                }
            }
        }
    }

    /// Refuses a name for every model beside a name for one of them from the same place, which would go unused.
    fn check_names(&mut self, origin: &str, own: &Settings) {
        let is_named = |settings: &Settings| settings.get(NAME).is_some_and(|setting| setting.origin == origin);
        if own.contains_key(NAME) && self.models.iter().any(is_named) {
            self.report(origin, NAME, Fault::Excludes { other: "the name of a model in the list" });
        }
    }

    /// The models are those of `list` from now on.
    fn list(&mut self, origin: &str, list: &[Value]) {
        if list.is_empty() {
            return self.report(origin, MODEL, Fault::Empty);
        }
        let mut models = Vec::new();
        for (index, entry) in list.iter().enumerate() {
            let name = format!("{MODEL}[{index}]");
            let mut settings = self.every_model.clone();
            match entry.as_table() {
                Some(table) => settings.extend(self.of_a_model(Place { table, origin, name: &name })),
                None => self.report(origin, &name, Fault::WrongType { expected: "table", found: entry.type_str() }),
            }
            models.push(settings);
        }
        self.models = models;
    }

    /// Keys that a table sets for a model.
    fn of_a_model(&mut self, place: Place<'_>) -> Settings {
        let Place { table, origin, name } = place;
        let (mut own, mut settings) = (table.clone(), Settings::new());
        for (section, keys) in SECTIONS_OF_A_MODEL {
            let name = format!("{name}.{section}");
            let known = match keys {
                Some(keys) => keys.iter().map(|key| (*key).to_owned()).collect(),
                None => self.schema.get(section).and_then(Value::as_table).map(names).unwrap_or_default(),
            };
            match own.remove(section) {
                Some(Value::Table(table)) => {
                    settings.extend(self.section(Place { table: &table, origin, name: &name }, section, &known));
                }
                Some(other) => {
                    self.report(origin, &name, Fault::WrongType { expected: "table", found: other.type_str() });
                }
                None => {}
            }
        }
        let mut known = self.schema.get(MODEL).and_then(Value::as_table).map(names).unwrap_or_default();
        known.extend(SECTIONS_OF_A_MODEL.map(|(section, _)| section.to_owned()));
        settings.extend(self.section(Place { table: &own, ..place }, MODEL, &known));
        self.settle_rivals(place, &mut settings);
        settings
    }

    /// The keys of a table that belong to `section`, each of which has to be among `known`.
    fn section(&mut self, place: Place<'_>, section: &str, known: &[String]) -> Settings {
        let Place { table, origin, name } = place;
        let mut settings = Settings::new();
        for (key, value) in table {
            let name = format!("{name}.{key}");
            let default = self.schema[section].get(key).filter(|_| known.contains(key));
            let fault = match default {
                None => Fault::Unknown { known: known.to_vec() },
                Some(default) if !value.same_type(default) => {
                    Fault::WrongType { expected: default.type_str(), found: value.type_str() }
                }
                Some(_) => {
                    let setting = Setting { value: value.clone(), origin: origin.to_owned(), name };
                    settings.insert(format!("{section}.{key}"), setting);
                    continue;
                }
            };
            self.report(origin, &name, fault);
        }
        settings
    }

    /// A checkpoint replaces a shape of an earlier layer, and the other way round; both in one layer are a
    /// contradiction.
    fn settle_rivals(&mut self, Place { table, origin, name }: Place<'_>, settings: &mut Settings) {
        let given = |key: &str| table.get(key).and_then(Value::as_str).is_some_and(|text| !text.is_empty());
        if given("path") && given("shape") {
            self.report(origin, &format!("{name}.shape"), Fault::Excludes { other: "model.path" });
            return;
        }
        for (_, loser) in RIVALS.into_iter().filter(|(winner, _)| given(winner)) {
            let value = Value::String(String::new());
            let setting = Setting { value, origin: origin.to_owned(), name: format!("{name}.{loser}") };
            settings.insert(format!("{MODEL}.{loser}"), setting);
        }
    }

    fn report(&mut self, origin: &str, key: &str, fault: Fault) {
        self.problems.push(Problem { origin: origin.to_owned(), key: key.to_owned(), fault });
    }
}

fn names(table: &Table) -> Vec<String> {
    table.keys().cloned().collect()
}
