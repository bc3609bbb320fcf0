//! The file of predictions: a JSON line for each row with the written text, the wanted one and its loss.
//!
//! The file is `NAME.partial` until it is complete.

use std::io::Write;
use std::path::{Path, PathBuf};

use model::OutFile;
use serde::Serialize;

use super::answer::Answer;
use super::error::EvalError;

/// A file that is being written.
pub struct Predictions {
    file: OutFile,
    path: PathBuf,
}

/// One row with its answer.
#[derive(Debug, Clone, Copy)]
pub struct Prediction<'a> {
    /// Line of the row, counted from 1.
    pub line: usize,
    /// Source or text of the row.
    pub input: &'a str,
    /// Target or label; empty if the row is a text.
    pub wanted: &'a str,
    /// Answer of the model.
    pub answer: &'a Answer,
}

#[derive(Serialize)]
struct Line<'a> {
    line: usize,
    input: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    wanted: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    written: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    loss: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_tokens: Option<u64>,
}

impl Predictions {
    /// Begins the file before the work, so that a path that cannot be written is reported at once.
    pub fn create(path: &Path) -> Result<Self, EvalError> {
        let file = OutFile::create(path).map_err(|source| failed(path, source))?;
        Ok(Self { file, path: path.to_owned() })
    }

    /// Adds a row.
    pub fn write(&mut self, row: Prediction<'_>) -> Result<(), EvalError> {
        let Prediction { line, input, wanted, answer } = row;
        let line = Line {
            line,
            input,
            wanted,
            written: answer.written.as_deref(),
            loss: answer.likelihood.and_then(|likelihood| likelihood.loss()),
            target_tokens: answer.likelihood.map(|likelihood| likelihood.tokens),
        };
        let text = serde_json::to_string(&line).expect("numbers and text serialise");
        writeln!(self.file, "{text}").map_err(|source| failed(&self.path, source))
    }

    /// Completes the file and gives it its name.
    pub fn finish(self) -> Result<(), EvalError> {
        self.file.finish().map_err(|source| failed(&self.path, source))
    }
}

fn failed(path: &Path, source: std::io::Error) -> EvalError {
    EvalError::Predictions { path: path.to_owned(), source }
}
