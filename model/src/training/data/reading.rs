//! How the files of a data set are read, and what is reported meanwhile.
//!
//! Read by `data_set`, which opens the token cache, and by `tokenise`, which builds it.

use std::path::Path;

use xxhash_rust::xxh3::Xxh3;

use super::raw_row::RowKind;
use crate::tokenizer::Tokenizer;
use crate::training::error::{Error, Result};
use crate::training::settings::BadRows;

/// How files are read.
#[derive(Debug, Clone, Copy)]
pub struct Reading<'a> {
    /// Kind of the files' rows.
    pub kind: RowKind,
    /// Tokenizer of the texts; not needed for rows of ids.
    pub tokenizer: Option<&'a Tokenizer>,
    /// Size of the source's vocabulary: ids are below it.
    pub source_vocab: usize,
    /// Size of the target's vocabulary: ids are below it.
    pub target_vocab: usize,
    /// All labels in their order; without them, the labels found in the files, sorted.
    pub labels: Option<&'a [String]>,
    /// Whether a malformed row ends the run or is left out.
    pub bad_rows: BadRows,
}

/// Reports while files are opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report<'a> {
    /// Progress in building the token cache.
    Progress(CacheProgress),
    /// A malformed row is left out.
    Skipped {
        /// Its file.
        path: &'a Path,
        /// Its line, from 1.
        line: usize,
        /// The problem.
        problem: &'a str,
    },
}

/// Progress in building the token cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheProgress {
    /// Rows written.
    pub rows: u64,
    /// Bytes of the files read.
    pub bytes: u64,
    /// Bytes of the files.
    pub total_bytes: u64,
}

/// Reports a malformed row, or fails with it.
pub(super) fn skip(
    path: &Path,
    line: usize,
    problem: &str,
    bad_rows: BadRows,
    report: &mut dyn FnMut(Report<'_>),
) -> Result<()> {
    match bad_rows {
        BadRows::Fail => Err(Error::Row { path: path.to_owned(), line, problem: problem.to_owned() }),
        BadRows::Skip => {
            report(Report::Skipped { path, line, problem });
            Ok(())
        }
    }
}

/// Hash of the files' contents, from the hash of each file.
pub(super) fn contents_key(hashes: &[u128]) -> u128 {
    let mut hash = Xxh3::new();
    hashes.iter().for_each(|one| hash.update(&one.to_le_bytes()));
    hash.digest128()
}
