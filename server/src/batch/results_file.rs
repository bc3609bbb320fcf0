//! The file of results: appended to line by line, so that it is whole after every end of the process but for its last
//! line, which the next run drops.

use std::fs::{File, Metadata, OpenOptions, TryLockError};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::error::BatchError;
use super::finished::Finished;
use super::result_line::{BatchResult, FinishedLine, is_beginning};
use super::run::BatchCounts;

/// Bytes of a line that show whether it may be a result.
const HEAD_BYTES: u64 = 64;

/// A file of results that this process alone writes.
#[derive(Debug)]
pub struct ResultsFile {
    file: File,
    path: PathBuf,
    /// Bytes of whole lines.
    bytes: u64,
    pub(super) finished: Finished,
    pub(super) counts: BatchCounts,
}

impl ResultsFile {
    /// Opens the file, or makes it. Reads which requests it finishes, and drops what was being written when an earlier
    /// run was killed. `requests` is the file of requests.
    ///
    /// # Errors
    /// When the file cannot be had, is no file of results, is the file of requests, or is written by another process.
    pub fn open(path: &Path, requests: &Path) -> Result<Self, BatchError> {
        let mut results = Self::lock(path, requests)?;
        results.read_finished()?;
        results.cut()?;
        Ok(results)
    }

    /// Opens a file that nobody but this program writes, as [`Self::open`] does. From the first line on that is no
    /// result, which a power cut may leave, the file is dropped, and its requests count as not finished.
    ///
    /// # Errors
    /// When the file cannot be had, or is written by another process.
    pub fn open_own(path: &Path, requests: &Path) -> Result<Self, BatchError> {
        let mut results = Self::lock(path, requests)?;
        match results.read_finished() {
            Err(error @ BatchError::NotResults { .. }) => {
                let kept = results.counts.finished();
                tracing::warn!(%error, kept, "a damaged rest of results is dropped, and its requests are run again");
            }
            read => read?,
        }
        results.cut()?;
        Ok(results)
    }

    /// Opens and locks the file, of which nothing is read yet.
    fn lock(path: &Path, requests: &Path) -> Result<Self, BatchError> {
        let failed = |source| BatchError::Open { path: path.to_owned(), source };
        if let Ok(metadata) = std::fs::metadata(path) {
            if !metadata.is_file() {
                return Err(BatchError::NotRegular { path: path.to_owned() });
            }
            if std::fs::metadata(requests).is_ok_and(|other| place(&other) == place(&metadata)) {
                return Err(BatchError::SameFile { path: path.to_owned() });
            }
        }
        let file = OpenOptions::new().read(true).append(true).create(true).open(path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(BatchError::Busy { path: path.to_owned() }),
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        let (finished, counts) = (Finished::default(), BatchCounts::default());
        Ok(Self { file, path: path.to_owned(), bytes: 0, finished, counts })
    }

    /// Cuts the file off behind its last whole line.
    fn cut(&self) -> Result<(), BatchError> {
        self.file.set_len(self.bytes).map_err(|source| self.unwritable(source))
    }

    /// Counts of the results in it.
    pub const fn counts(&self) -> BatchCounts {
        self.counts
    }

    /// Appends a result. A line that was not written whole is taken back, as far as the system lets it.
    ///
    /// # Errors
    /// When the system does not take it: the disk may be full.
    pub fn append(&mut self, result: &BatchResult) -> Result<(), BatchError> {
        let line = result.write();
        if let Err(source) = self.file.write_all(&line) {
            let _ = self.file.set_len(self.bytes);
            return Err(self.unwritable(source));
        }
        self.bytes += line.len() as u64;
        self.counts.add(result.succeeded());
        Ok(())
    }

    /// Waits until the disk has everything.
    ///
    /// # Errors
    /// When it does not take it.
    pub fn sync(&self) -> Result<(), BatchError> {
        self.file.sync_all().map_err(|source| self.unwritable(source))
    }

    fn read_finished(&mut self) -> Result<(), BatchError> {
        let mut lines = BufReader::new(&self.file);
        let mut line = Vec::new();
        for number in 1.. {
            line.clear();
            let unreadable = |source| BatchError::Read { path: self.path.clone(), source };
            let foreign = |source| BatchError::NotResults { path: self.path.clone(), line: number, source };
            // Nothing but what a killed run left of a result may be dropped, so a line is first looked at, then read.
            (&mut lines).take(HEAD_BYTES).read_until(b'\n', &mut line).map_err(unreadable)?;
            if !is_beginning(&line) {
                return Err(foreign(None));
            }
            if line.last() != Some(&b'\n') {
                lines.read_until(b'\n', &mut line).map_err(unreadable)?;
            }
            if line.last() != Some(&b'\n') {
                break;
            }
            let finished = FinishedLine::read(&line).map_err(|source| foreign(Some(source)))?;
            self.counts.add(finished.succeeded);
            self.finished.note(finished);
            self.bytes += line.len() as u64;
        }
        Ok(())
    }

    fn unwritable(&self, source: std::io::Error) -> BatchError {
        BatchError::Write { path: self.path.clone(), source }
    }
}

/// Device and number of a file.
fn place(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}
