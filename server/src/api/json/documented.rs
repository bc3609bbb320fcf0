//! Holds the tables of docs/api.md to the declared fields, for tests of the rooms that declare them.

use toml::{Table, Value};

use super::field::{Field, Form};
use super::field_table::FieldTable;
use super::limit_values::{LimitValue, LimitValues};
use crate::config::DEFAULTS;

/// The fields of an object, as a page names them.
pub struct Documented {
    /// Put before their names: `stream_options.` for a nested object.
    pub prefix: &'static str,
    /// The fields.
    pub fields: &'static FieldTable,
}

/// The limits of `config.toml`.
pub fn default_limits() -> LimitValues {
    let defaults: Table = DEFAULTS.parse().unwrap();
    let limits = defaults["limits"].as_table().unwrap().clone();
    let value = |(name, value): (String, Value)| {
        Some(LimitValue { name: name.leak(), value: value.as_integer()?.try_into().unwrap() })
    };
    LimitValues::new(limits.into_iter().filter_map(value))
}

/// Checks that the tables under this heading of docs/api.md have exactly the rows of the fields.
pub fn hold_tables(heading: &str, objects: &[Documented]) {
    let page = include_str!("../../../../docs/api.md");
    let (_, section) = page.split_once(&format!("\n## {heading}\n")).unwrap_or_else(|| panic!("no `{heading}`"));
    let section = section.split("\n## ").next().unwrap();
    let mut documented: Vec<_> = section.lines().filter(|line| line.starts_with("| `")).map(str::to_owned).collect();
    let limits = default_limits();
    let has_row = |field: &&Field| !matches!(field.form, Form::Neutral(_) | Form::Object(_));
    let rows = |object: &Documented| {
        let rows = object.fields.iter().filter(has_row).map(|field| field.row(object.prefix, &limits));
        rows.collect::<Vec<_>>()
    };
    let mut declared: Vec<_> = objects.iter().flat_map(rows).collect();
    let in_common: Vec<_> = documented.extract_if(.., |row| declared.contains(row)).collect();
    declared.retain(|row| !in_common.contains(row));
    assert!(declared.is_empty() && documented.is_empty(), "{heading}: {declared:#?} instead of {documented:#?}");
}
