//! The record of a file, as it is kept on the disk.

use serde::{Deserialize, Serialize};

/// A file. Times are in seconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRecord {
    /// Its id.
    pub id: String,
    /// Number of its bytes.
    pub bytes: u64,
    /// When it was made.
    pub created_at: u64,
    /// When it is deleted.
    pub expires_at: u64,
    /// Its name at the client.
    pub filename: String,
    /// `batch` for requests, `batch_output` for results.
    pub purpose: String,
    /// Name of the key that it belongs to, where there are keys.
    pub owner: Option<String>,
}

/// Purpose of files of requests.
pub const REQUESTS: &str = "batch";
/// Purpose of files of results.
pub const RESULTS: &str = "batch_output";
