//! The check of a file of requests before any of them is run: as with OpenAI, a batch whose file has a bad line fails.

use std::path::Path;

use super::batch_record::LineFault;
use super::error::StoreError;
use crate::batch::{CheckedLine, check_lines};

/// Most problems that are told.
const MOST_FAULTS: usize = 100;

/// A file of requests, as far as it matters before it is run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checked {
    /// Number of its requests.
    pub requests: u64,
    /// Its problems; none may be run if there are any.
    pub faults: Vec<LineFault>,
}

/// Bounds of a file of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileBounds {
    /// Most requests.
    pub requests: u64,
    /// Most bytes of a body.
    pub body_bytes: usize,
}

/// Checks a file whose requests are all for `endpoint`.
///
/// # Errors
/// When it cannot be read.
pub fn check(path: &Path, endpoint: &str, bounds: FileBounds) -> Result<Checked, StoreError> {
    let mut checked = Checked::default();
    check_lines(path, bounds.body_bytes, |line| {
        checked.requests += 1;
        if checked.requests > bounds.requests {
            let message = format!("the file has more than {} requests (batches.lines): divide it", bounds.requests);
            checked.faults = vec![fault("too_many_requests", message, None)];
            return false;
        }
        match line {
            CheckedLine::Request { url, .. } if url == endpoint => {}
            CheckedLine::Request { line, url } => {
                let message = format!("`url` is {url} and the batch is for {endpoint}");
                checked.faults.push(fault("mismatched_endpoint", message, Some(line)));
            }
            CheckedLine::Bad { line, message } => checked.faults.push(fault("invalid_line", message, Some(line))),
        }
        checked.faults.len() < MOST_FAULTS
    })?;
    if checked.requests == 0 {
        checked.faults.push(fault("empty_file", "the file has no request".to_owned(), None));
    }
    Ok(checked)
}

fn fault(code: &str, message: String, line: Option<u64>) -> LineFault {
    LineFault { code: code.to_owned(), message, line }
}
