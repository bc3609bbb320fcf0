//! One row as a JSONL file holds it, its fields checked; texts are not tokenised yet.
//!
//! Parsed when the token cache is built, and by the server's evaluation. Unknown fields are ignored.

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::lines::Lines;
use crate::training::error::{Error, Result};

/// Kind of rows: the fields that they have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowKind {
    /// `text`, or `input_ids` alone.
    Text,
    /// `input` or `input_ids`, and `target` or `target_ids`.
    Pair,
    /// `input` or `input_ids`, and `label`.
    Labelled,
}

/// Text, or its token ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Not empty.
    Text(String),
    /// Not empty.
    Ids(Vec<u32>),
}

/// A row, with the fields of its [`RowKind`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RawRow {
    /// A text.
    Text(Content),
    /// A source and its target.
    Pair {
        /// The source.
        source: Content,
        /// The target.
        target: Content,
    },
    /// A source and its class.
    Labelled {
        /// The source to classify.
        source: Content,
        /// Name of the class.
        label: String,
    },
}

/// Reasons why a line is no row of its kind.
pub type Problem = String;

#[derive(Deserialize)]
struct Fields {
    text: Option<Value>,
    input: Option<Value>,
    target: Option<Value>,
    label: Option<Value>,
    input_ids: Option<Value>,
    target_ids: Option<Value>,
}

/// Calls `each` with the line number and the row, or the problem with it, for every line of a file that is not blank.
///
/// # Errors
/// When the file cannot be read, and the errors of `each`; [`Error::Row`] is for rows that end everything.
pub fn read_rows(
    path: &Path,
    kind: RowKind,
    mut each: impl FnMut(usize, std::result::Result<RawRow, Problem>) -> Result<()>,
) -> Result<()> {
    let mut lines = Lines::open(path)?;
    while let Some(line) = lines.next()? {
        each(line.number, line.text.and_then(|text| RawRow::parse(&text, kind)))?;
    }
    Ok(())
}

impl RowKind {
    /// The kind of the first row of a file.
    ///
    /// # Errors
    /// [`Error::Row`] when it is of none; [`Error::NoRows`] when there is none.
    pub fn of_file(path: &Path) -> Result<Self> {
        let line = Lines::open(path)?.next()?;
        let line = line.ok_or_else(|| Error::NoRows { files: vec![path.to_owned()], skipped: 0 })?;
        let fields = line.text.and_then(|text| Fields::parse(&text));
        let kind = fields.and_then(|fields| match fields {
            Fields { label: Some(_), .. } => Ok(Self::Labelled),
            Fields { target: Some(_), .. } | Fields { target_ids: Some(_), .. } => Ok(Self::Pair),
            Fields { text: Some(_), .. } | Fields { input_ids: Some(_), .. } => Ok(Self::Text),
            _ => {
                Err("it has neither \"text\", nor \"input\" with \"target\" or \"label\", nor \"input_ids\"".to_owned())
            }
        });
        kind.map_err(|problem| Error::Row { path: path.to_owned(), line: line.number, problem })
    }
}

impl RawRow {
    /// Parses a line as a row.
    ///
    /// # Errors
    /// The problem, as a sentence about "it".
    pub fn parse(line: &str, kind: RowKind) -> std::result::Result<Self, Problem> {
        let Fields { text, input, target, label, input_ids, target_ids } = Fields::parse(line)?;
        match kind {
            RowKind::Text if target_ids.is_some() => {
                Err("it has \"target_ids\", which an objective on texts does not read".to_owned())
            }
            RowKind::Text => Ok(Self::Text(Content::of(("text", text), ("input_ids", input_ids))?)),
            RowKind::Pair => {
                let source = Content::of(("input", input), ("input_ids", input_ids))?;
                let target = Content::of(("target", target), ("target_ids", target_ids))?;
                Ok(Self::Pair { source, target })
            }
            RowKind::Labelled => {
                let source = Content::of(("input", input), ("input_ids", input_ids))?;
                let label = label.ok_or_else(|| "it has no \"label\"".to_owned())?;
                Ok(Self::Labelled { source, label: text_of("label", label)? })
            }
        }
    }
}

impl Fields {
    fn parse(line: &str) -> std::result::Result<Self, Problem> {
        let line = line.trim();
        // serde would take an array of six values for the fields in their order.
        if !line.starts_with('{') {
            return Err("it is not a JSON object".to_owned());
        }
        // The line number in the parser's message would be mistaken for the file's.
        let say = |error: serde_json::Error| error.to_string().replace(" at line 1 column ", " at column ");
        serde_json::from_str(line).map_err(|error| format!("it is not a JSON object ({})", say(error)))
    }
}

impl Content {
    fn of(
        (text_name, text): (&'static str, Option<Value>),
        (ids_name, ids): (&'static str, Option<Value>),
    ) -> std::result::Result<Self, Problem> {
        match (text, ids) {
            (Some(text), None) => Ok(Self::Text(text_of(text_name, text)?)),
            (None, Some(ids)) => Ok(Self::Ids(ids_of(ids_name, ids)?)),
            (None, None) => Err(format!("it has neither {text_name:?} nor {ids_name:?}")),
            (Some(_), Some(_)) => Err(format!("it has both {text_name:?} and {ids_name:?}")),
        }
    }
}

fn text_of(name: &str, value: Value) -> std::result::Result<String, Problem> {
    match value {
        Value::String(text) if text.is_empty() => Err(format!("its {name:?} is empty")),
        Value::String(text) => Ok(text),
        _ => Err(format!("its {name:?} is not a string")),
    }
}

fn ids_of(name: &str, value: Value) -> std::result::Result<Vec<u32>, Problem> {
    let Value::Array(values) = value else { return Err(format!("its {name:?} is not a list of token ids")) };
    if values.is_empty() {
        return Err(format!("its {name:?} is empty"));
    }
    let id = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
    let ids =
        values.iter().map(|value| id(value).ok_or_else(|| format!("its {name:?} holds {value}, which is no token id")));
    ids.collect()
}
