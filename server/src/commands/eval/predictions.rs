//! The file with a JSON line for each row: what was written, what was wanted, how probable that was.
//!
//! Takes its name when it is complete; until then it stands beside, as `NAME.partial`.

use std::io::Write;
use std::path::{Path, PathBuf};

use model::OutFile;
use serde::Serialize;

use super::error::EvalError;
use super::subject::Answer;

/// A file that is being written.
pub struct Predictions {
    file: OutFile,
    path: PathBuf,
}

/// One row with its answer.
#[derive(Debug, Clone, Copy)]
pub struct Prediction<'a> {
    /// The row's line, from 1.
    pub line: usize,
    /// What was read.
    pub input: &'a str,
    /// Target or label; empty where the row is a text.
    pub wanted: &'a str,
    /// What came of it.
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
    /// Begins the file, so that a path that cannot be written is told before the work.
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

    /// Gives the file its name.
    pub fn finish(self) -> Result<(), EvalError> {
        self.file.finish().map_err(|source| failed(&self.path, source))
    }
}

fn failed(path: &Path, source: std::io::Error) -> EvalError {
    EvalError::Predictions { path: path.to_owned(), source }
}
