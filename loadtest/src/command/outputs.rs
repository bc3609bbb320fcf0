//! The files of a run. Their places are tried before the load, so that no measurement is lost to a misspelt path.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
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
    failed: Option<io::Error>,
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
        try_place(path).map_err(|source| LoadtestError::WriteFile { path: path.clone(), source })?;
    }
    Ok(())
}

fn try_place(path: &Path) -> io::Result<()> {
    if path.exists() {
        OpenOptions::new().append(true).open(path)?;
    }
    if is_replaced(path) {
        let partial = beside(path)?;
        File::create(&partial)?;
        fs::remove_file(partial)?;
    }
    Ok(())
}

/// Writes a report. A file that has the name is replaced by a whole one, or stays as it is.
///
/// # Errors
/// A file that cannot be written.
pub fn write(path: &Path, text: &str) -> Result<(), LoadtestError> {
    let written = if is_replaced(path) { replace(path, text) } else { fs::write(path, text) };
    written.map_err(|source| LoadtestError::WriteFile { path: path.to_owned(), source })
}

fn replace(path: &Path, text: &str) -> io::Result<()> {
    let partial = beside(path)?;
    let written = File::create(&partial).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    let placed = written.and_then(|()| fs::rename(&partial, path));
    if placed.is_err() {
        // The first error is the one to report.
        let _ = fs::remove_file(&partial);
    }
    placed
}

/// Whether a new file takes the name. Devices, pipes and links are written to as they are.
fn is_replaced(path: &Path) -> bool {
    fs::symlink_metadata(path).map_or(true, |found| found.is_file())
}

/// Name of a file that is not complete.
fn beside(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "it is a folder"))?;
    let mut name = name.to_owned();
    name.push(".partial");
    Ok(path.with_file_name(name))
}
