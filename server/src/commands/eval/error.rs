//! Failures of an evaluation, beside those to load a model.
//!
//! Messages name file and line, or the flag to change.

use std::path::PathBuf;

use clap::ValueEnum;
use model::config::Architecture;

use crate::cli::Metric;

/// Why there are no figures.
#[derive(Debug, thiserror::Error)]
pub enum EvalError {
    /// Rows that cannot be read, or a failure of the training network.
    #[error(transparent)]
    Training(#[from] model::training::Error),
    /// The file of predictions cannot be written.
    #[error("cannot write {}", path.display())]
    Predictions {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// Rows without an answer that can be counted.
    #[error(
        "{}: the model has no answer to {count} of {rows} rows ({}): {problem}",
        path.display(),
        listed(lines, *count)
    )]
    Unanswered {
        /// The file.
        path: PathBuf,
        /// The first of their lines, counted from 1.
        lines: Vec<usize>,
        /// Number of such rows.
        count: usize,
        /// Number of all rows of the file.
        rows: usize,
        /// Problem of the first answer.
        problem: String,
    },
    /// A figure that rows of this objective do not have.
    #[error("{} is not measured of {objective} rows: leave it out of --metrics", metric_name(*metric))]
    NotMeasured {
        /// The figure.
        metric: Metric,
        /// The rows' objective.
        objective: &'static str,
    },
    /// Rows that the checkpoint cannot answer.
    #[error("this {architecture} cannot be evaluated on {objective} rows: it {instead}")]
    WrongObjective {
        /// Architecture of the checkpoint.
        architecture: Architecture,
        /// The rows' objective.
        objective: &'static str,
        /// The rest of the sentence "it ..." about rows that such a checkpoint answers.
        instead: &'static str,
    },
    /// A checkpoint that only the training network runs was to be quantised.
    #[error("a checkpoint that is not served is evaluated in float32: leave --quantize away")]
    Quantized,
    /// The threads of the training network cannot be started.
    #[error("cannot start {threads} threads: {reason}")]
    Threads {
        /// Number of threads.
        threads: usize,
        /// Message of the library.
        reason: String,
    },
}

/// Numbers of lines in words.
fn listed(lines: &[usize], count: usize) -> String {
    let named = lines.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
    let line = if count == 1 { "line" } else { "lines" };
    match count - lines.len() {
        0 => format!("{line} {named}"),
        more => format!("{line} {named} and {more} more"),
    }
}

fn metric_name(metric: Metric) -> String {
    metric.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}
