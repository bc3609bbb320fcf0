//! `metrics.jsonl`: a line for each step and each validation, and the means of a run.
//!
//! Written by `run`, read by the server's report. A resumed run first removes the lines of steps that it takes again.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::error::{Error, Result};
use crate::input;
use crate::out_file::OutFile;

/// Name of the file in a run's folder.
pub const FILE: &str = "metrics.jsonl";

/// One line.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Record {
    /// A step.
    Step(StepRecord),
    /// A validation.
    Validation(ValidationRecord),
}

/// Record of a step.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
pub struct StepRecord {
    /// Its number, from 1.
    pub step: u64,
    /// Passes over the data when it ended, as 1.25.
    pub epoch: f64,
    /// Number of the stage; 0 is the cross-attention warm-up.
    pub stage: usize,
    /// Minimised loss per target token, including z-loss and teacher.
    pub loss: f64,
    /// Mean of `-log p` of the target tokens.
    pub cross_entropy: f64,
    /// Learning rate.
    pub learning_rate: f64,
    /// Norm of the gradient of all trained weights, before clipping.
    pub gradient_norm: f64,
    /// Number of tokens computed, of sources and targets.
    pub tokens: u64,
    /// Tokens computed per second.
    pub tokens_per_s: f64,
    /// Seconds that the run has taken, including those before it was resumed.
    pub elapsed_s: f64,
    /// Whether the step was skipped because its loss jumped.
    pub skipped: bool,
}

/// Record of a validation.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
pub struct ValidationRecord {
    /// Steps taken before it.
    pub step: u64,
    /// Mean of `-log p` of the target tokens (or of the labels).
    pub valid_loss: f64,
    /// Share of target tokens (or of labels) that are the most probable ones.
    pub accuracy: f64,
    /// Exponential of the loss.
    pub perplexity: f64,
    /// Number of target tokens, or labels, that were scored.
    pub tokens: u64,
    /// Whether no earlier validation was as good.
    pub best: bool,
    /// Seconds that the run has taken, including those before it was resumed.
    pub elapsed_s: f64,
    /// Continuations of the first rows.
    pub samples: Vec<Sample>,
}

/// A row with the model's continuation.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
pub struct Sample {
    /// Source.
    pub source: String,
    /// Target, or label.
    pub expected: String,
    /// The model's greedy continuation, or its label.
    pub written: String,
}

impl Record {
    /// Steps taken when the line was written.
    pub fn step(&self) -> u64 {
        match self {
            Self::Step(record) => record.step,
            Self::Validation(record) => record.step,
        }
    }
}

/// The file, opened to append.
#[derive(Debug)]
pub struct Metrics {
    path: PathBuf,
    file: File,
}

impl Metrics {
    /// Opens a run's file, creating it if absent, and removes the lines after a step.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn open(run: &Path, step: u64) -> Result<Self> {
        let path = run.join(FILE);
        cut(&path, step)?;
        let file = OpenOptions::new().create(true).append(true).open(&path).map_err(failed("open", &path))?;
        Ok(Self { path, file })
    }

    /// Appends a line and flushes it to the system.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn add(&mut self, record: &Record) -> Result<()> {
        let mut line = serde_json::to_vec(record).expect("numbers and texts are JSON");
        line.push(b'\n');
        self.file.write_all(&line).map_err(failed("write", &self.path))
    }
}

/// Reads the lines of a run's file; none when there is no file. A last line that was cut short is left out.
///
/// # Errors
/// When the file cannot be read.
pub fn read(run: &Path) -> Result<Vec<Record>> {
    let lines = lines(&run.join(FILE))?.unwrap_or_default();
    Ok(lines.into_iter().map(|line| line.record).collect())
}

/// A line with its text.
struct Line {
    record: Record,
    text: Vec<u8>,
}

/// Every line; `None` when there is no file.
fn lines(path: &Path) -> Result<Option<Vec<Line>>> {
    let file = match input::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(failed("read", path)(source)),
    };
    let mut lines = Vec::new();
    for line in BufReader::new(file).split(b'\n') {
        let text = line.map_err(failed("read", path))?;
        lines.extend(serde_json::from_slice(&text).ok().map(|record| Line { record, text }));
    }
    Ok(Some(lines))
}

/// Rewrites the file without later lines. The other lines stay as they are, digit by digit.
fn cut(path: &Path, step: u64) -> Result<()> {
    let Some(lines) = lines(path)? else { return Ok(()) };
    let mut kept = Vec::new();
    for line in lines.iter().filter(|line| line.record.step() <= step) {
        kept.extend_from_slice(&line.text);
        kept.push(b'\n');
    }
    OutFile::replace(path, &kept).map_err(failed("write", path))
}

fn failed<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(std::io::Error) -> Error + use<'a> {
    move |source| Error::File { action, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(step: u64) -> Record {
        Record::Step(StepRecord {
            step,
            epoch: 0.5,
            stage: 1,
            loss: 2.5,
            cross_entropy: 2.25,
            learning_rate: 1e-3,
            gradient_norm: 0.75,
            tokens: 100,
            tokens_per_s: 1000.0,
            elapsed_s: 0.1,
            skipped: false,
        })
    }

    fn validation(step: u64) -> Record {
        let samples = vec![Sample { source: "a\nb".to_owned(), expected: "\"c\"".to_owned(), written: String::new() }];
        Record::Validation(ValidationRecord {
            step,
            valid_loss: 1.5,
            accuracy: 0.25,
            perplexity: 4.48,
            tokens: 12,
            best: true,
            elapsed_s: 0.2,
            samples,
        })
    }

    #[test]
    fn lines_are_read_as_they_were_written() {
        let run = tempfile::tempdir().unwrap();
        assert_eq!(read(run.path()).unwrap(), []);
        let records = [step(1), step(2), validation(2)];
        let mut metrics = Metrics::open(run.path(), 0).unwrap();
        records.iter().for_each(|record| metrics.add(record).unwrap());
        assert_eq!(read(run.path()).unwrap(), records);
    }

    #[test]
    fn a_resumed_run_cuts_later_lines_and_one_that_was_cut_short() {
        let run = tempfile::tempdir().unwrap();
        let mut metrics = Metrics::open(run.path(), 0).unwrap();
        [step(1), step(2), validation(2), step(3)].iter().for_each(|record| metrics.add(record).unwrap());
        drop(metrics);
        let mut file = OpenOptions::new().append(true).open(run.path().join(FILE)).unwrap();
        file.write_all(br#"{"kind":"step","step":4,"#).unwrap();

        let mut metrics = Metrics::open(run.path(), 2).unwrap();
        metrics.add(&step(3)).unwrap();
        assert_eq!(read(run.path()).unwrap(), [step(1), step(2), validation(2), step(3)]);
    }
}
