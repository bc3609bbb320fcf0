//! Why a file or a batch cannot be had or kept.

use std::io;

use super::share::Bound;
use crate::batch::BatchError;
use crate::process::causes::with_causes;

/// Why a file or a batch cannot be had or kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// No such file, or one of another key.
    #[error("No such File object: {id}")]
    NoFile {
        /// The id.
        id: String,
    },
    /// No such batch, or one of another key.
    #[error("No batch found with id '{id}'")]
    NoBatch {
        /// The id.
        id: String,
    },
    /// A file that is too large.
    #[error("the file has more than {limit} bytes (batches.file_bytes): divide it")]
    FileTooLarge {
        /// Allowed.
        limit: u64,
    },
    /// All files together are too large.
    #[error("files and results have as many bytes as batches.total_bytes allows, {bound}: delete files")]
    NoRoom {
        /// Allowed.
        bound: Bound,
    },
    /// Too many files.
    #[error("as many files are kept as batches.files allows, {bound}: delete some")]
    TooManyFiles {
        /// Allowed.
        bound: Bound,
    },
    /// Too many batches that are not finished.
    #[error("as many batches are unfinished as batches.unfinished allows, {bound}: wait until one is finished")]
    TooManyBatches {
        /// Allowed.
        bound: Bound,
    },
    /// A file that a batch still needs.
    #[error("{id} is needed by {batch}, which is not finished: cancel that first")]
    InUse {
        /// The file.
        id: String,
        /// The batch.
        batch: String,
    },
    /// A file of results, which no batch can read requests from.
    #[error("{id} holds results, not requests")]
    NoRequests {
        /// The file.
        id: String,
    },
    /// A batch whose end has come or is certain.
    #[error("{id} cannot be cancelled: its status is {status}")]
    NotCancellable {
        /// The batch.
        id: String,
        /// Its status.
        status: &'static str,
    },
    /// The disk is full.
    #[error("the disk of the server is full: {problem}")]
    DiskFull {
        /// The system's answer.
        problem: String,
    },
    /// The system refuses for another reason.
    #[error("the server cannot keep this: {problem}")]
    Disk {
        /// The system's answer.
        problem: String,
    },
}

impl From<io::Error> for StoreError {
    fn from(error: io::Error) -> Self {
        Self::of(&error, error.to_string())
    }
}

impl From<BatchError> for StoreError {
    fn from(error: BatchError) -> Self {
        let problem = with_causes(&error);
        match error {
            BatchError::Open { source, .. } | BatchError::Read { source, .. } | BatchError::Write { source, .. } => {
                Self::of(&source, problem)
            }
            _ => Self::Disk { problem },
        }
    }
}

impl StoreError {
    fn of(error: &io::Error, problem: String) -> Self {
        use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
        match error.kind() {
            StorageFull | QuotaExceeded | FileTooLarge => Self::DiskFull { problem },
            _ => Self::Disk { problem },
        }
    }
}
