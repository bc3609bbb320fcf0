//! Everything that can end a training run, as one enum.
//!
//! Raised throughout `training`. Messages say what to change.

use std::path::PathBuf;

/// Result of this module.
pub type Result<T> = std::result::Result<T, Error>;

/// An error of training.
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
        /// The attempted action, such as `read` or `write`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// Settings that cannot be used, all of them.
    #[error("the settings cannot be used:{}", listed(problems))]
    Settings {
        /// Every problem found, each naming its key.
        problems: Vec<String>,
    },
    /// A row of the data that does not fit the objective.
    #[error("{}:{line}: {problem}", path.display())]
    Row {
        /// The file.
        path: PathBuf,
        /// Its line, from 1.
        line: usize,
        /// The problem.
        problem: String,
    },
    /// The loss or the gradient is not finite.
    #[error(
        "step {step}: the {what} is not a finite number; nothing of this step is kept, the last checkpoint is as it \
         was: lower the learning rate, clip more (optimizer.clip_norm), or look at the rows of this step"
    )]
    NotFinite {
        /// The step, from 1.
        step: u64,
        /// `loss` or `gradient`.
        what: &'static str,
    },
    /// The run in the folder has other settings.
    #[error(
        "the run in {} was begun with other settings: restore them, or give another `out`{}",
        out.display(),
        listed(differences)
    )]
    SettingsChanged {
        /// Folder of the run.
        out: PathBuf,
        /// Every key that differs, with both values.
        differences: Vec<String>,
    },
    /// A file of a saved run that has changed since it was written.
    #[error(
        "{} is damaged ({problem}): remove the folder it is in to go on from the checkpoint before it",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The problem.
        problem: String,
    },
    /// A saved run of another version of the program.
    #[error(
        "{} has format {found}, this program reads {expected}: go on with the program that wrote it, or give another \
         `out`",
        path.display()
    )]
    OtherFormat {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The format that this version reads.
        expected: u32,
    },
    /// Another process trains in the same folder.
    #[error("{} is in use by another run: wait for it, or give another `out`", out.display())]
    InUse {
        /// Folder of the run.
        out: PathBuf,
    },
    /// The program cannot compute on a GPU.
    #[error("device = \"cuda\" needs a program built with the feature `train-cuda`")]
    NoCuda,
    /// A row that the network cannot read.
    #[error("row {row} of the batch cannot be used: {problem}")]
    Example {
        /// Its number in the batch, from 0.
        row: usize,
        /// The problem.
        problem: String,
    },
    /// The system gives no threads.
    #[error("cannot start the threads of the computation: {reason}")]
    Threads {
        /// The system's answer.
        reason: String,
    },
    /// Files without a single row that can be used.
    #[error(
        "no row can be used of {}{}",
        files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(", "),
        if *skipped > 0 { format!(": all {skipped} were left out") } else { String::new() }
    )]
    NoRows {
        /// The files.
        files: Vec<PathBuf>,
        /// Malformed rows.
        skipped: u64,
    },
    /// Packed texts that do not fill one row.
    #[error("the texts have {tokens} tokens together, fewer than one packed row: max_text_tokens is {row_tokens}")]
    TooLittleText {
        /// Tokens of all texts, with the end tokens between them.
        tokens: u64,
        /// Tokens of a row.
        row_tokens: usize,
    },
    /// A position in the data that does not exist.
    #[error(
        "epoch {epoch} has {batches} batches, so there is none after {batch}: the data is not what this run began with"
    )]
    Position {
        /// The epoch.
        epoch: u64,
        /// The batch, from 0.
        batch: u64,
        /// Number of batches.
        batches: u64,
    },
}

/// Lines of an error's message, one for each item.
fn listed(items: &[String]) -> String {
    items.iter().map(|item| format!("\n  {item}")).collect()
}
