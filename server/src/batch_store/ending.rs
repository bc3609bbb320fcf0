//! The end of a batch: files of its results, and its last status.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;

use model::OutFile;

use super::batch_record::{BatchRecord, BatchStatus, RequestCounts};
use super::clock::now;
use super::error::StoreError;
use super::failing::WITHDRAWN;
use super::file_record::{FileRecord, RESULTS};
use super::folder::remove;
use super::store::BatchStore;
use crate::batch::{Reason, ResultsFile, is_success, refuse_remaining};

const EXPIRED: Reason = Reason {
    code: "batch_expired",
    message: "This request could not be executed before the completion window expired.",
};
const CANCELLED: Reason =
    Reason { code: "batch_cancelled", message: "This request was not executed because the batch was cancelled." };

/// A file that is made of results.
#[derive(Debug, Clone, Copy)]
struct Part {
    name: &'static str,
    succeeded: bool,
}

const OUTPUT: Part = Part { name: "output", succeeded: true };
const ERROR: Part = Part { name: "error", succeeded: false };

/// Makes files of the results of a batch, and ends it. Done again after a crash, it makes the same files.
///
/// # Errors
/// When the disk refuses.
pub fn put_together(store: &BatchStore, batch: &BatchRecord, body_bytes: usize) -> Result<(), StoreError> {
    let (results, requests) = (store.folder().results(&batch.id), store.folder().contents(&batch.input_file_id));
    let status = match batch.status {
        BatchStatus::Cancelling => BatchStatus::Cancelled,
        _ if batch.expired_at.is_some() => BatchStatus::Expired,
        _ if !batch.errors.is_empty() => BatchStatus::Failed,
        _ => BatchStatus::Completed,
    };
    let (mut output_file_id, mut error_file_id, mut counts) = (None, None, batch.counts);
    // Nothing is said of the requests of a file that was not checked yet.
    if batch.in_progress_at.is_some() {
        let reason = match status {
            BatchStatus::Cancelled => Some(CANCELLED),
            BatchStatus::Expired => Some(EXPIRED),
            BatchStatus::Failed => Some(WITHDRAWN),
            _ => None,
        };
        if let Some(reason) = reason {
            // Where the requests are gone, nothing can be said of those without a result.
            if requests.try_exists()? {
                refuse_remaining(&requests, ResultsFile::open_own(&results, &requests)?, body_bytes, reason)?;
            }
        }
        let found = ResultsFile::open_own(&results, &requests)?.counts();
        counts = RequestCounts { completed: found.completed, failed: found.failed, ..counts };
        output_file_id = make(store, batch, &results, OUTPUT)?;
        error_file_id = make(store, batch, &results, ERROR)?;
    }
    store.update(&batch.id, |batch| {
        let at = Some(now());
        (batch.status, batch.counts) = (status, counts);
        (batch.output_file_id, batch.error_file_id) = (output_file_id, error_file_id);
        match status {
            BatchStatus::Cancelled => batch.cancelled_at = at,
            BatchStatus::Completed => batch.completed_at = at,
            BatchStatus::Failed => batch.failed_at = at,
            _ => {}
        }
    })?;
    remove(&results)?;
    let mut state = store.lock();
    state.drop_results(&batch.id);
    store.tell(state);
    Ok(())
}

/// Makes a file of some of the results; of none, no file.
fn make(store: &BatchStore, batch: &BatchRecord, results: &Path, part: Part) -> Result<Option<String>, StoreError> {
    let id = format!("file-{}-{}", batch.id.trim_start_matches("batch_"), part.name);
    let mut out = OutFile::create(&store.folder().contents(&id))?;
    let bytes = copy(results, &mut out, part)?;
    if bytes == 0 {
        return Ok(None);
    }
    out.finish()?;
    let (created_at, keep) = (now(), store.limits().keep.as_secs());
    store.keep_result(&FileRecord {
        id: id.clone(),
        bytes,
        created_at,
        expires_at: created_at + batch.output_s.unwrap_or(keep).min(keep),
        filename: format!("{}_{}.jsonl", batch.id, part.name),
        purpose: RESULTS.to_owned(),
        owner: batch.owner.clone(),
    })?;
    Ok(Some(id))
}

/// Copies the lines of a part; returns their bytes.
fn copy(results: &Path, out: &mut OutFile, part: Part) -> io::Result<u64> {
    let (mut lines, mut line, mut bytes) = (BufReader::new(File::open(results)?), Vec::new(), 0);
    while lines.read_until(b'\n', &mut line)? > 0 {
        if is_success(&line)? == part.succeeded {
            out.write_all(&line)?;
            bytes += line.len() as u64;
        }
        line.clear();
    }
    Ok(bytes)
}
