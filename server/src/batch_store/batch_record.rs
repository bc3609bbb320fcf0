//! The record of a batch, as it is kept on the disk.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A batch. Times are in seconds since 1970.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchRecord {
    /// Its id.
    pub id: String,
    /// The route that all its requests name.
    pub endpoint: String,
    /// Why it failed: problems of its file, or that its key was withdrawn.
    pub errors: Vec<LineFault>,
    /// File of its requests.
    pub input_file_id: String,
    /// Time that it was given, as the client wrote it.
    pub completion_window: String,
    /// How far it is.
    pub status: BatchStatus,
    /// File of the answers of success.
    pub output_file_id: Option<String>,
    /// File of the other results.
    pub error_file_id: Option<String>,
    /// When it was made.
    pub created_at: u64,
    /// When its file was found to be in order.
    pub in_progress_at: Option<u64>,
    /// When it ends unfinished.
    pub expires_at: u64,
    /// When its last request was done.
    pub finalizing_at: Option<u64>,
    /// When its results were there.
    pub completed_at: Option<u64>,
    /// When it failed.
    pub failed_at: Option<u64>,
    /// When its time was over.
    pub expired_at: Option<u64>,
    /// When it was to be cancelled.
    pub cancelling_at: Option<u64>,
    /// When it was cancelled.
    pub cancelled_at: Option<u64>,
    /// Its requests.
    pub counts: RequestCounts,
    /// Names and values of the client's own.
    pub metadata: Option<BTreeMap<String, String>>,
    /// Seconds for which its results are kept, if the client wants them to be kept for a shorter time.
    pub output_s: Option<u64>,
    /// Name of the key that it belongs to, where there are keys.
    pub owner: Option<String>,
}

/// Numbers of requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestCounts {
    /// All of them.
    pub total: u64,
    /// Requests that were answered with success.
    pub completed: u64,
    /// Requests that were answered with an error, or not run.
    pub failed: u64,
}

/// A problem of a file of requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineFault {
    /// Kind of the problem.
    pub code: String,
    /// The problem.
    pub message: String,
    /// The line, counted from 1.
    pub line: Option<u64>,
}

/// How far a batch is. Names are OpenAI's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BatchStatus {
    /// Its file is to be checked.
    #[default]
    Validating,
    /// Its file was refused, or its key was withdrawn.
    Failed,
    /// Its requests are being answered.
    InProgress,
    /// Its results are being put together.
    Finalizing,
    /// Its results are there.
    Completed,
    /// Its time was over; the results until then are there.
    Expired,
    /// It is about to be cancelled.
    Cancelling,
    /// It was cancelled; the results until then are there.
    Cancelled,
}

impl BatchRecord {
    /// When it ended, if it did.
    pub fn ended_at(&self) -> Option<u64> {
        match self.status {
            BatchStatus::Failed => self.failed_at,
            BatchStatus::Completed => self.completed_at,
            // What is kept of it was put together after that.
            BatchStatus::Expired => self.finalizing_at.max(self.expired_at),
            BatchStatus::Cancelled => self.cancelled_at,
            BatchStatus::Validating | BatchStatus::InProgress | BatchStatus::Finalizing | BatchStatus::Cancelling => {
                None
            }
        }
    }
}

impl BatchStatus {
    /// Statuses of batches that are not finished.
    pub const OPEN: [Self; 4] = [Self::Validating, Self::InProgress, Self::Finalizing, Self::Cancelling];

    /// Whether anything is still to be done.
    pub fn is_open(self) -> bool {
        Self::OPEN.contains(&self)
    }

    /// OpenAI's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Validating => "validating",
            Self::Failed => "failed",
            Self::InProgress => "in_progress",
            Self::Finalizing => "finalizing",
            Self::Completed => "completed",
            Self::Expired => "expired",
            Self::Cancelling => "cancelling",
            Self::Cancelled => "cancelled",
        }
    }
}
