//! Everything that can end a training run, as one enum.
//!
//! Raised all over `training`. Messages say what to change.

use std::path::PathBuf;

/// Result of this module.
pub type Result<T> = std::result::Result<T, Error>;

/// What can go wrong in training.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A checkpoint, tokenizer or other file of a model.
    #[error(transparent)]
    Model(#[from] crate::Error),
    /// The tensor library refused an operation.
    #[error("a tensor operation failed: {0}")]
    Tensor(#[from] candle_core::Error),
    /// The operating system refused a file.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// What was tried, as `read` or `write`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// Settings that cannot be used, all of them.
    #[error("the settings cannot be used:{}", problems.iter().map(|problem| format!("\n  {problem}")).collect::<String>())]
    Settings {
        /// Every problem found, each naming its key.
        problems: Vec<String>,
    },
    /// A row of the data that is not what the objective reads.
    #[error("{}:{line}: {problem}", path.display())]
    Row {
        /// The file.
        path: PathBuf,
        /// Its line, from 1.
        line: usize,
        /// What is wrong with it.
        problem: String,
    },
    /// A row that the network cannot read.
    #[error("row {row} of the batch cannot be used: {problem}")]
    Example {
        /// Its number in the batch, from 0.
        row: usize,
        /// What is wrong with it.
        problem: String,
    },
}
