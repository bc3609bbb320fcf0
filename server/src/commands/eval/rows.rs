//! The rows of a JSONL file and their objective.
//!
//! All rows are read before a model is loaded, so that a malformed one is reported at once. The trainer's parser reads
//! them.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use model::Tokenizer;
use model::training::data::{Content, RawRow, RowKind, read_rows};
use model::training::{Error, settings};

use super::error::EvalError;
use crate::cli::{Metric, ObjectiveChoice};

/// The task that rows set a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowObjective {
    /// Write the target of the source.
    Seq2seq,
    /// Write or choose the label of the source.
    Classify,
    /// Continue the first half of a text with its second.
    PrefixLm,
    /// Predict each token of a text from those before it.
    Causal,
}

/// A row with its place in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its line in the file, from 1.
    pub line: usize,
    /// Its contents.
    pub raw: RawRow,
}

/// The rows of a file.
#[derive(Debug)]
pub struct Rows {
    /// The file.
    pub path: PathBuf,
    /// Their objective.
    pub objective: RowObjective,
    /// At least one row.
    pub rows: Vec<Row>,
}

impl RowObjective {
    fn of(choice: ObjectiveChoice, path: &Path) -> Result<Self, Error> {
        Ok(match choice {
            ObjectiveChoice::Seq2seq => Self::Seq2seq,
            ObjectiveChoice::Classify => Self::Classify,
            ObjectiveChoice::PrefixLm => Self::PrefixLm,
            ObjectiveChoice::Causal => Self::Causal,
            ObjectiveChoice::Auto => match RowKind::of_file(path)? {
                RowKind::Pair => Self::Seq2seq,
                RowKind::Labelled => Self::Classify,
                RowKind::Text => Self::PrefixLm,
            },
        })
    }

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Seq2seq => "seq2seq",
            Self::Classify => "classify",
            Self::PrefixLm => "prefix_lm",
            Self::Causal => "causal",
        }
    }

    /// Figures that such rows have.
    pub fn metrics(self) -> &'static [Metric] {
        match self {
            Self::Seq2seq => &[Metric::Loss, Metric::Rouge, Metric::Bleu, Metric::Chrf, Metric::Accuracy],
            Self::Classify => &[Metric::Loss, Metric::Accuracy],
            Self::PrefixLm | Self::Causal => &[Metric::Loss],
        }
    }

    /// Training objective whose examples such rows become. A model without classes writes the label as a target.
    pub fn trained_as(self, classes: Option<&[String]>, separator: &str) -> settings::Objective {
        match self {
            Self::Classify if classes.is_some() => settings::Objective::Classify { labels: Vec::new() },
            Self::Seq2seq | Self::Classify => settings::Objective::Seq2seq { separator: separator.to_owned() },
            Self::PrefixLm => settings::Objective::PrefixLm {},
            Self::Causal => settings::Objective::Causal {},
        }
    }

    /// Kind of its rows.
    pub const fn row_kind(self) -> RowKind {
        match self {
            Self::Seq2seq => RowKind::Pair,
            Self::Classify => RowKind::Labelled,
            Self::PrefixLm | Self::Causal => RowKind::Text,
        }
    }
}

impl Rows {
    /// Reads at most `limit` rows.
    ///
    /// # Errors
    /// When the file cannot be read or has no rows, and at the first malformed one, with its line.
    pub fn read(path: &Path, choice: ObjectiveChoice, limit: Option<NonZeroUsize>) -> Result<Self, EvalError> {
        let objective = RowObjective::of(choice, path)?;
        let limit = limit.map_or(usize::MAX, NonZeroUsize::get);
        let mut rows = Vec::new();
        read_rows(path, objective.row_kind(), |line, row| {
            if rows.len() < limit {
                let raw = row.map_err(|problem| Error::Row { path: path.to_owned(), line, problem })?;
                rows.push(Row { line, raw });
            }
            Ok(())
        })?;
        if rows.is_empty() {
            return Err(Error::NoRows { files: vec![path.to_owned()], skipped: 0 }.into());
        }
        Ok(Self { path: path.to_owned(), objective, rows })
    }
}

impl Row {
    /// Source or text of the row.
    pub fn input(&self, tokenizer: &Tokenizer) -> String {
        match &self.raw {
            RawRow::Text(content) | RawRow::Pair { source: content, .. } | RawRow::Labelled { source: content, .. } => {
                text_of(content, tokenizer)
            }
        }
    }

    /// Target or label of the row; empty for a text.
    pub fn wanted(&self, tokenizer: &Tokenizer) -> String {
        match &self.raw {
            RawRow::Text(_) => String::new(),
            RawRow::Pair { target, .. } => text_of(target, tokenizer),
            RawRow::Labelled { label, .. } => label.clone(),
        }
    }
}

fn text_of(content: &Content, tokenizer: &Tokenizer) -> String {
    match content {
        Content::Text(text) => text.clone(),
        Content::Ids(ids) => tokenizer.decode(ids),
    }
}
