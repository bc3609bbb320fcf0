//! An open file with numbers, read stretch by stretch into memory of this process.
//!
//! Used by `checkpoint` and by the token cache of training. A file is never mapped: one that is cut or rewritten while
//! it is read has to end in an error that names it. The caller knows what the bytes mean.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::thread::{Builder, ScopedJoinHandle, available_parallelism};
use std::time::SystemTime;

use super::bytes::{Bytes, OwnedBytes};
use crate::error::{Error, Result};

/// Size of a block, which is read and checked while it is in a core's cache.
const BLOCK_BYTES: usize = 1 << 18;
/// Stretches of at least this many bytes are read by several threads.
const SHARED_BYTES: usize = 1 << 24;

/// An open file, with its length and time of change when it was opened.
#[derive(Debug)]
pub(crate) struct OpenFile {
    path: PathBuf,
    contents: Contents,
}

#[derive(Debug)]
enum Contents {
    /// Part of the program.
    Embedded(&'static [u8]),
    File {
        file: File,
        bytes: usize,
        modified: Option<SystemTime>,
    },
}

impl OpenFile {
    /// A file that is part of the program; `path` stands for it in messages.
    pub fn embedded(path: PathBuf, bytes: &'static [u8]) -> Self {
        Self { path, contents: Contents::Embedded(bytes) }
    }

    /// A regular file that was opened for reading.
    ///
    /// # Errors
    /// When the system does not tell its length.
    pub fn new(path: PathBuf, file: File) -> Result<Self> {
        let metadata = file.metadata().map_err(|source| failed(&path, source))?;
        let bytes = usize::try_from(metadata.len()).map_err(|error| failed(&path, std::io::Error::other(error)))?;
        Ok(Self { path, contents: Contents::File { file, bytes, modified: metadata.modified().ok() } })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Length of the file.
    pub fn bytes(&self) -> usize {
        match &self.contents {
            Contents::Embedded(bytes) => bytes.len(),
            Contents::File { bytes, .. } => *bytes,
        }
    }

    /// Reads a stretch that lies inside the file.
    ///
    /// # Errors
    /// When the system refuses, or the file is not what it was when it was opened.
    pub fn read(&self, range: Range<usize>) -> Result<Bytes> {
        self.read_looking(range, |_| {})
    }

    /// Reads a stretch and shows every block to `look`, on the thread that has just read it. The length of a block is a
    /// multiple of 8, except for the last.
    ///
    /// # Errors
    /// When the system refuses, or the file is not what it was when it was opened.
    pub fn read_looking(&self, range: Range<usize>, look: impl Fn(&[u8]) + Sync) -> Result<Bytes> {
        let file = match &self.contents {
            Contents::Embedded(bytes) => return Ok(Bytes::Embedded(&bytes[range])),
            Contents::File { file, .. } => file,
        };
        let mut bytes = OwnedBytes::zeroed(range.len())?;
        let helpers = if bytes.len() < SHARED_BYTES { 0 } else { cores() - 1 };
        let blocks = Mutex::new(bytes.chunks_mut(BLOCK_BYTES).enumerate());
        let next = || blocks.lock().unwrap_or_else(PoisonError::into_inner).next();
        let work = || {
            while let Some((number, block)) = next() {
                self.fill(file, range.start + number * BLOCK_BYTES, block)?;
                look(block);
            }
            Ok(())
        };
        std::thread::scope(|scope| {
            // Without the threads that the system refuses, the others read more.
            let spawn = |_| Builder::new().spawn_scoped(scope, work).ok();
            let threads: Vec<_> = (0..helpers).map_while(spawn).collect();
            let joined = |thread: ScopedJoinHandle<'_, Result<()>>| thread.join().expect("reading does not panic");
            threads.into_iter().map(joined).fold(work(), Result::and)
        })?;
        self.check_unchanged()?;
        Ok(Bytes::Owned(bytes))
    }

    /// Checks that the file has the length and the time of change that it had when it was opened.
    ///
    /// # Errors
    /// When it has not, or the system does not tell them.
    pub fn check_unchanged(&self) -> Result<()> {
        let Contents::File { file, bytes, modified } = &self.contents else {
            return Ok(());
        };
        let now = file.metadata().map_err(|source| failed(&self.path, source))?;
        let is_as_opened = now.len() == *bytes as u64 && now.modified().ok() == *modified;
        if is_as_opened { Ok(()) } else { Err(self.changed()) }
    }

    /// Reads a short stretch into memory that is there already.
    ///
    /// # Errors
    /// When the system refuses, or the file was cut.
    pub fn read_into(&self, start: usize, into: &mut [u8]) -> Result<()> {
        match &self.contents {
            Contents::Embedded(bytes) => {
                into.copy_from_slice(&bytes[start..][..into.len()]);
                Ok(())
            }
            Contents::File { file, .. } => self.fill(file, start, into),
        }
    }

    fn fill(&self, file: &File, start: usize, into: &mut [u8]) -> Result<()> {
        file.read_exact_at(into, start as u64).map_err(|source| match source.kind() {
            std::io::ErrorKind::UnexpectedEof => self.changed(),
            _ => failed(&self.path, source),
        })
    }

    fn changed(&self) -> Error {
        Error::Changed { path: self.path.clone() }
    }
}

fn cores() -> usize {
    available_parallelism().map_or(1, usize::from)
}

fn failed(path: &Path, source: std::io::Error) -> Error {
    Error::File { action: "read", path: path.to_owned(), source }
}
