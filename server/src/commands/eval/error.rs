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

fn metric_name(metric: Metric) -> String {
    metric.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}
