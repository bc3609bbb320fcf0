//! Typed access to the fields of a JSON object, collecting every problem instead of stopping at the first.
//!
//! Called by the readers of this folder. A field that is null counts as absent.

use std::path::Path;

use serde_json::{Map, Value};

use crate::error::{ConfigProblem, Error, Result};

/// One JSON object with its path, so that problems can name their field.
pub(super) struct Fields<'a> {
    path: String,
    object: Option<&'a Map<String, Value>>,
}

/// Problems found so far.
#[derive(Default)]
pub(super) struct Problems(pub Vec<ConfigProblem>);

impl Problems {
    pub fn add(&mut self, field: impl Into<String>, reason: impl Into<String>) {
        self.0.push(ConfigProblem { field: field.into(), reason: reason.into() });
    }

    /// An error that lists the problems, if any were found; `path` is the file it names.
    pub fn none_or_error(self, path: &Path) -> Result<()> {
        if self.0.is_empty() { Ok(()) } else { Err(Error::Config { path: path.to_owned(), problems: self.0 }) }
    }

    /// The value that was read, or an error that lists the problems. A reader returns `None` only after it added one.
    pub fn value_or_error<T>(self, path: &Path, read: Option<T>) -> Result<T> {
        match read {
            Some(value) if self.0.is_empty() => Ok(value),
            _ => Err(Error::Config { path: path.to_owned(), problems: self.0 }),
        }
    }
}

impl<'a> Fields<'a> {
    /// A whole document. A `path` that is not empty stands before the names of its fields.
    pub fn document(path: &str, value: &'a Value) -> Self {
        Self { path: path.to_owned(), object: value.as_object() }
    }

    /// An absent object: every field is absent.
    pub fn absent() -> Self {
        Self { path: String::new(), object: None }
    }

    /// Path of a field of this object.
    pub fn name(&self, field: &str) -> String {
        if self.path.is_empty() { field.to_owned() } else { format!("{}.{field}", self.path) }
    }

    /// Every field with its value, null or not.
    pub fn entries(&self) -> impl Iterator<Item = (&'a String, &'a Value)> {
        self.object.into_iter().flatten()
    }

    /// The value, unless absent or null.
    pub fn get(&self, field: &str) -> Option<&'a Value> {
        self.object?.get(field).filter(|value| !value.is_null())
    }

    /// Whether the field is written, null or not.
    pub fn is_written(&self, field: &str) -> bool {
        self.object.is_some_and(|object| object.contains_key(field))
    }

    /// An object inside this one.
    pub fn object(&self, field: &str, problems: &mut Problems) -> Option<Fields<'a>> {
        let value = self.get(field)?;
        let Some(object) = value.as_object() else {
            problems.add(self.name(field), "is not an object");
            return None;
        };
        Some(Fields { path: self.name(field), object: Some(object) })
    }

    /// A required whole number in `1 ..= limit`.
    pub fn size(&self, field: &str, limit: usize, problems: &mut Problems) -> Option<usize> {
        let Some(value) = self.get(field) else {
            problems.add(self.name(field), "is missing");
            return None;
        };
        let size = value.as_u64().and_then(|size| usize::try_from(size).ok());
        match size {
            Some(size) if (1..=limit).contains(&size) => Some(size),
            _ => {
                problems.add(self.name(field), format!("is {}, not a whole number from 1 to {limit}", brief(value)));
                None
            }
        }
    }

    /// A required positive number.
    pub fn positive(&self, field: &str, problems: &mut Problems) -> Option<f32> {
        if self.get(field).is_none() {
            problems.add(self.name(field), "is missing");
        }
        self.positive_if_any(field, problems)
    }

    /// An optional positive number.
    pub fn positive_if_any(&self, field: &str, problems: &mut Problems) -> Option<f32> {
        let value = self.get(field)?;
        let number = value.as_f64().map(|number| number as f32);
        let usable = number.filter(|number| number.is_finite() && *number > 0.0);
        if usable.is_none() {
            problems.add(self.name(field), format!("is {}, not a positive number", brief(value)));
        }
        usable
    }

    /// An optional flag.
    pub fn flag(&self, field: &str, problems: &mut Problems) -> Option<bool> {
        let value = self.get(field)?;
        if !value.is_boolean() {
            problems.add(self.name(field), format!("is {}, not true or false", brief(value)));
        }
        value.as_bool()
    }

    /// An optional text.
    pub fn text(&self, field: &str, problems: &mut Problems) -> Option<&'a str> {
        let value = self.get(field)?;
        if !value.is_string() {
            problems.add(self.name(field), format!("is {}, not a string", brief(value)));
        }
        value.as_str()
    }

    /// An optional token id, or list of them; each must be below `vocab`.
    pub fn tokens(&self, field: &str, vocab: Option<usize>, problems: &mut Problems) -> Option<Vec<u32>> {
        let value = self.get(field)?;
        let single = std::slice::from_ref(value);
        let values = value.as_array().map_or(single, Vec::as_slice);
        if values.is_empty() {
            problems.add(self.name(field), "is an empty list");
        }
        let mut tokens = Vec::new();
        for value in values {
            match value.as_u64().and_then(|token| u32::try_from(token).ok()) {
                Some(token) if vocab.is_none_or(|vocab| (token as usize) < vocab) => tokens.push(token),
                Some(token) => problems.add(self.name(field), format!("is {token}, outside the vocabulary")),
                None => problems.add(self.name(field), format!("is {}, not a token id", brief(value))),
            }
        }
        Some(tokens)
    }

    /// An optional single token id, below `vocab`.
    pub fn token(&self, field: &str, vocab: Option<usize>, problems: &mut Problems) -> Option<u32> {
        if self.get(field)?.is_array() {
            problems.add(self.name(field), "is a list, not one token id");
            return None;
        }
        self.tokens(field, vocab, problems)?.first().copied()
    }
}

/// A value for a message: in full when it is short, else only its kind.
pub(super) fn brief(value: &Value) -> String {
    let text = value.to_string();
    if text.len() <= 40 {
        return text;
    }
    match value {
        Value::String(_) => "a long string".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        _ => "an object".to_owned(),
    }
}
