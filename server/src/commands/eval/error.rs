//! What ends an evaluation, beside a model that cannot be loaded.
//!
//! Raised all over `eval`. Messages name file and line, or the flag to change.

use std::path::PathBuf;

use clap::ValueEnum;

use crate::cli::Metric;

/// Why there are no figures.
#[derive(Debug, thiserror::Error)]
pub enum EvalError {
    /// The rows, or the network of a checkpoint that is not served.
    #[error(transparent)]
    Training(#[from] model::training::Error),
    /// The file of predictions.
    #[error("cannot write {}", path.display())]
    Predictions {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// Rows to which the model gave nothing that can be counted.
    #[error("{}: the model has no answer to {count} of {rows} rows ({}): {problem}", path.display(), listed(lines, *count))]
    Unanswered {
        /// The file.
        path: PathBuf,
        /// The first of their lines, from 1.
        lines: Vec<usize>,
        /// How many they are.
        count: usize,
        /// Rows of the file.
        rows: usize,
        /// What is wrong with the first answer.
        problem: String,
    },
    /// A figure that such rows do not have.
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
        /// What the checkpoint is.
        architecture: &'static str,
        /// The rows' objective.
        objective: &'static str,
        /// What it can do.
        instead: &'static str,
    },
    /// A checkpoint that only the trained network runs, to be quantised.
    #[error("a checkpoint that is not served is evaluated in float32: leave --quantize away")]
    Quantized,
    /// No pool of threads.
    #[error("cannot start {threads} threads: {reason}")]
    Threads {
        /// How many.
        threads: usize,
        /// The library's words.
        reason: String,
    },
}

/// Lines as a person names them.
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
