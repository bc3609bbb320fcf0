//! What ends an evaluation, beside a model that cannot be loaded.
//!
//! Raised all over `eval`. Messages name file and line, or the flag to change.

use std::path::PathBuf;

use clap::ValueEnum;

use crate::cli::Metric;

/// Why there are no figures.
#[derive(Debug, thiserror::Error)]
pub enum EvalError {
    /// A file of rows or predictions.
    #[error("cannot {action} {}", path.display())]
    File {
        /// What was tried, as `read`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A row that is not what the objective reads.
    #[error("{}:{line}: {problem}", path.display())]
    Row {
        /// The file.
        path: PathBuf,
        /// Its line, from 1.
        line: usize,
        /// What is wrong with it.
        problem: String,
    },
    /// A file without rows.
    #[error("{} holds no rows", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
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
    #[error("a {architecture} cannot be evaluated on {objective} rows: it {instead}")]
    WrongObjective {
        /// What the checkpoint is.
        architecture: &'static str,
        /// The rows' objective.
        objective: &'static str,
        /// What it can do.
        instead: &'static str,
    },
}

fn metric_name(metric: Metric) -> String {
    metric.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}
