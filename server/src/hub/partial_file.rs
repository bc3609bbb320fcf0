//! The beginning of a file that is being fetched, with the checksum of what is there.
//!
//! Used by `download`. It survives the process, and the next one continues it.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::checksum::Checksum;
use super::repository::RemoteFile;

/// Bytes that are read at once.
const PIECE: usize = 1 << 18;

/// A file up to the last byte that came.
pub struct PartialFile {
    file: File,
    path: PathBuf,
    tag: String,
    size: u64,
    length: u64,
    checksum: Checksum,
}

impl PartialFile {
    /// Opens what is there of a file, or begins it. The part that is there is read for the checksum.
    pub fn open(path: &Path, remote: &RemoteFile) -> io::Result<Self> {
        let file = File::options().read(true).write(true).create(true).truncate(false).open(path)?;
        let RemoteFile { tag, size, .. } = remote.clone();
        let mut partial =
            Self { file, path: path.to_owned(), length: 0, checksum: Checksum::like(&tag, size), tag, size };
        if partial.file.metadata()?.len() > size {
            partial.restart()?;
        }
        let mut piece = vec![0; PIECE];
        loop {
            let count = partial.file.read(&mut piece)?;
            if count == 0 {
                return Ok(partial);
            }
            partial.checksum.add(&piece[..count]);
            partial.length += count as u64;
        }
    }

    /// Bytes that are there.
    pub const fn length(&self) -> u64 {
        self.length
    }

    /// Whether all bytes are there.
    pub const fn is_complete(&self) -> bool {
        self.length == self.size
    }

    /// Throws away what is there.
    pub fn restart(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.seek(SeekFrom::Start(0))?;
        (self.length, self.checksum) = (0, Checksum::like(&self.tag, self.size));
        Ok(())
    }

    /// Adds the next bytes; those beyond the announced size are left out.
    pub fn add(&mut self, bytes: &[u8]) -> io::Result<()> {
        let room = usize::try_from(self.size - self.length).unwrap_or(usize::MAX);
        let bytes = &bytes[..bytes.len().min(room)];
        self.file.write_all(bytes)?;
        self.checksum.add(bytes);
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Gives a complete file its name if its checksum is the announced one; otherwise gives back the one that it has.
    pub fn finish(self, path: &Path) -> io::Result<Result<(), String>> {
        match self.checksum.finish() {
            Some(found) if found != self.tag => Ok(Err(found)),
            _ => {
                self.file.sync_all()?;
                fs::rename(&self.path, path).map(Ok)
            }
        }
    }
}
