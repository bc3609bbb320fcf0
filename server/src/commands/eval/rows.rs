//! The rows of a JSONL file as an evaluation reads them.
//!
//! Read whole before a model is loaded, so that a malformed row is told at once. Knows no token.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::EvalError;
use crate::cli::{Metric, ObjectiveChoice};

/// What the rows ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Objective {
    /// The target from the input.
    Seq2seq,
    /// The label of the input.
    Classify,
    /// The second half of a text from its first.
    PrefixLm,
    /// Each token of a text from those before it.
    Causal,
}

/// One row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its line in the file, from 1.
    pub line: usize,
    /// The input, or the whole text.
    pub input: String,
    /// Target or label; empty for a text.
    pub wanted: String,
}

/// All rows of a file.
#[derive(Debug)]
pub struct Rows {
    /// The file.
    pub path: PathBuf,
    /// What they ask for.
    pub objective: Objective,
    /// At least one.
    pub rows: Vec<Row>,
}

impl Objective {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Seq2seq => "seq2seq",
            Self::Classify => "classify",
            Self::PrefixLm => "prefix_lm",
            Self::Causal => "causal",
        }
    }

    /// The figures that such rows have.
    pub fn metrics(self) -> &'static [Metric] {
        match self {
            Self::Seq2seq => &[Metric::Loss, Metric::Rouge, Metric::Bleu, Metric::Chrf, Metric::Accuracy],
            Self::Classify => &[Metric::Loss, Metric::Accuracy],
            Self::PrefixLm | Self::Causal => &[Metric::Loss],
        }
    }

    /// The fields that are read of a row: input, and what is wanted of it.
    fn fields(self) -> (&'static str, Option<&'static str>) {
        match self {
            Self::Seq2seq => ("input", Some("target")),
            Self::Classify => ("input", Some("label")),
            Self::PrefixLm | Self::Causal => ("text", None),
        }
    }

    /// By what a row has.
    fn of(object: &Map<String, Value>) -> Option<Self> {
        let all = [Self::Seq2seq, Self::Classify, Self::PrefixLm];
        all.into_iter().find(|objective| {
            let (input, wanted) = objective.fields();
            object.contains_key(input) && wanted.is_none_or(|wanted| object.contains_key(wanted))
        })
    }
}

impl Rows {
    /// Reads at most `limit` rows. Fields that the objective does not read are passed over, empty lines too.
    ///
    /// # Errors
    /// When the file cannot be read or has no rows, and at the first malformed one, with its line.
    pub fn read(path: &Path, choice: ObjectiveChoice, limit: Option<NonZeroUsize>) -> Result<Self, EvalError> {
        let failed = |source| EvalError::File { action: "read", path: path.to_owned(), source };
        let mut objective = match choice {
            ObjectiveChoice::Auto => None,
            ObjectiveChoice::Seq2seq => Some(Objective::Seq2seq),
            ObjectiveChoice::Classify => Some(Objective::Classify),
            ObjectiveChoice::PrefixLm => Some(Objective::PrefixLm),
            ObjectiveChoice::Causal => Some(Objective::Causal),
        };
        let limit = limit.map_or(usize::MAX, NonZeroUsize::get);
        let mut rows = Vec::new();
        for (index, text) in BufReader::new(File::open(path).map_err(failed)?).split(b'\n').enumerate() {
            let text = text.map_err(failed)?;
            if rows.len() == limit {
                break;
            }
            if text.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            let line = index + 1;
            let row = parse(&text, &mut objective).map_err(|problem| EvalError::Row {
                path: path.to_owned(),
                line,
                problem,
            })?;
            rows.push(Row { line, ..row });
        }
        match objective {
            Some(objective) if !rows.is_empty() => Ok(Self { path: path.to_owned(), objective, rows }),
            _ => Err(EvalError::Empty { path: path.to_owned() }),
        }
    }
}

/// The first row decides about an objective that is open.
fn parse(text: &[u8], objective: &mut Option<Objective>) -> Result<Row, String> {
    let object: Map<String, Value> =
        serde_json::from_slice(text).map_err(|error| format!("is no JSON object: {error}"))?;
    let found = objective.or_else(|| Objective::of(&object));
    let found = found.ok_or("has neither input and target, nor input and label, nor text")?;
    *objective = Some(found);
    let field = |name: &str| match object.get(name) {
        Some(Value::String(text)) if text.is_empty() => Err(format!("{name} is empty")),
        Some(Value::String(text)) => Ok(text.clone()),
        Some(_) => Err(format!("{name} is not a text")),
        None => Err(format!("{name} is missing")),
    };
    let (input, wanted) = found.fields();
    Ok(Row { line: 0, input: field(input)?, wanted: wanted.map_or(Ok(String::new()), field)? })
}
