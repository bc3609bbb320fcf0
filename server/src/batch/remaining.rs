//! The end of a batch before all of its requests were run: each of the others gets a result that says so.

use std::io::{self, BufReader};
use std::path::Path;

use super::error::BatchError;
use super::line_reader::LineReader;
use super::requests::{Pending, Requests};
use super::result_line::{BatchResult, Outcome};
use super::results_file::ResultsFile;
use super::run::{LINE_BYTES, open_requests};
use super::shard::Shard;

/// Why requests are not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reason {
    /// `code` of the error.
    pub code: &'static str,
    /// The reason.
    pub message: &'static str,
}

/// Gives every request of a file that has no result yet one that says why.
///
/// # Errors
/// When a file cannot be read or written.
pub fn refuse_remaining(
    path: &Path,
    mut results: ResultsFile,
    body_bytes: usize,
    reason: Reason,
) -> Result<(), BatchError> {
    let (line_bytes, mut finished) = (body_bytes.saturating_add(LINE_BYTES), std::mem::take(&mut results.finished));
    let lines = LineReader::new(BufReader::new(open_requests(path)?), line_bytes);
    let unreadable = |source: io::Error| BatchError::Read { path: path.to_owned(), source };
    for pending in (Requests { lines, shard: Shard::ALL, line_bytes, finished: &mut finished }) {
        let result = match pending.map_err(unreadable)? {
            Pending::Passed => continue,
            Pending::Known(result) => result,
            Pending::Request { line, request } => {
                let outcome = Outcome::Refused { code: reason.code, message: reason.message.to_owned() };
                BatchResult { line, custom_id: Some(request.custom_id), outcome }
            }
        };
        results.append(&result)?;
    }
    results.sync()
}
