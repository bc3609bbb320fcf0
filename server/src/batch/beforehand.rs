//! A file of requests, looked through before any of them is run.

use std::io::{self, BufReader};
use std::path::Path;

use super::error::BatchError;
use super::finished::Finished;
use super::line_reader::LineReader;
use super::requests::{Pending, Requests};
use super::result_line::Outcome;
use super::run::{LINE_BYTES, open_requests};
use super::shard::Shard;

/// A line, as far as it can be judged before it is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckedLine {
    /// A request for this path.
    Request {
        /// The line, counted from 1.
        line: u64,
        /// The path with its query.
        url: String,
    },
    /// No request, or one with the name of an earlier one.
    Bad {
        /// The line, counted from 1.
        line: u64,
        /// The reason.
        message: String,
    },
}

/// Reads the lines of a file whose bodies may have so many bytes, and hands them to `told` until that says no.
///
/// # Errors
/// When the file cannot be read.
pub fn check_lines(
    path: &Path,
    body_bytes: usize,
    mut told: impl FnMut(CheckedLine) -> bool,
) -> Result<(), BatchError> {
    let (line_bytes, mut finished) = (body_bytes.saturating_add(LINE_BYTES), Finished::default());
    let lines = LineReader::new(BufReader::new(open_requests(path)?), line_bytes);
    let unreadable = |source: io::Error| BatchError::Read { path: path.to_owned(), source };
    for pending in (Requests { lines, shard: Shard::ALL, line_bytes, finished: &mut finished }) {
        let checked = match pending.map_err(unreadable)? {
            Pending::Request { line, request } => CheckedLine::Request { line, url: request.url.to_string() },
            Pending::Known(result) => {
                let Outcome::Refused { message, .. } = result.outcome else { continue };
                CheckedLine::Bad { line: result.line, message }
            }
            Pending::Passed => continue,
        };
        if !told(checked) {
            break;
        }
    }
    Ok(())
}
