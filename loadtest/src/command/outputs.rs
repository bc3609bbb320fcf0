//! The files of a run. Their places are tried before the load, so that no measurement is lost to a misspelt path.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::cli::RunFlags;
use crate::error::LoadtestError;
use crate::measurement::Record;
use crate::report::record_line;

/// The JSON Lines file of a run: a line for each request, written as it ends.
pub struct RecordLog {
    path: PathBuf,
    kinds: Vec<String>,
    state: Mutex<State>,
}

struct State {
    file: BufWriter<File>,
    /// The first error; nothing is written after it.
    failed: Option<std::io::Error>,
}

impl RecordLog {
    /// A log at `path`, for requests of these kinds. A file that is there is replaced.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn create(path: &Path, kinds: Vec<String>) -> Result<Self, LoadtestError> {
        let cannot = |source| LoadtestError::WriteFile { path: path.to_owned(), source };
        let file = BufWriter::new(File::create(path).map_err(cannot)?);
        Ok(Self { path: path.to_owned(), kinds, state: Mutex::new(State { file, failed: None }) })
    }

    /// Writes a line.
    pub fn add(&self, record: &Record) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.failed.is_none() {
            let line = record_line(record, &self.kinds);
            state.failed = writeln!(state.file, "{line}").err();
        }
    }

    /// Writes what is held.
    ///
    /// # Errors
    /// The first error since the start.
    pub fn finish(&self) -> Result<(), LoadtestError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let flushed = state.failed.take().map_or_else(|| state.file.flush(), Err);
        flushed.map_err(|source| LoadtestError::WriteFile { path: self.path.clone(), source })
    }
}

/// Tries whether the reports can be written, without changing what is there.
///
/// # Errors
/// A file that cannot be written.
pub fn try_places(flags: &RunFlags) -> Result<(), LoadtestError> {
    for path in [&flags.json, &flags.html].into_iter().flatten() {
        let opened = OpenOptions::new().create(true).append(true).open(path);
        opened.map_err(|source| LoadtestError::WriteFile { path: path.clone(), source })?;
    }
    Ok(())
}

/// Writes a report.
///
/// # Errors
/// A file that cannot be written.
pub fn write(path: &Path, text: &str) -> Result<(), LoadtestError> {
    std::fs::write(path, text).map_err(|source| LoadtestError::WriteFile { path: path.to_owned(), source })
}
