//! One file of the hub, fetched in as many pieces as the line needs.
//!
//! Called by `fetch`.

use std::fs;
use std::io::{self, ErrorKind, Read};

use ureq::http::{StatusCode, header};

use super::cache::{CachedRepository, failed, remove_if_there};
use super::client::{Answer, Ask, Client, Failure};
use super::error::HubError;
use super::partial_file::PartialFile;
use super::repository::RemoteFile;
use crate::process::progress::LoadProgress;

/// Bytes that are taken from the line at once.
const PIECE: usize = 1 << 18;

/// A file on its way.
pub struct Download<'a> {
    /// The way to the hub.
    pub client: &'a Client,
    /// Where it goes.
    pub cached: &'a CachedRepository,
    /// Name of the repository.
    pub repository: &'a str,
    /// The file.
    pub remote: &'a RemoteFile,
    /// Is told every byte.
    pub progress: &'a LoadProgress,
}

impl Download<'_> {
    /// Fetches the file, or what is missing of it. Several processes may do so at once: one of them fetches, and the
    /// others find what it fetched.
    ///
    /// # Errors
    /// When it cannot be had, or is not what was announced.
    pub fn run(&self) -> Result<(), HubError> {
        let RemoteFile { tag, size, name, .. } = self.remote;
        let _lock = self.cached.lock(tag, self.client.stop())?;
        let (blob, incomplete) = (self.cached.blob(tag), self.cached.incomplete(tag));
        if blob.exists() {
            self.progress.advance(*size);
            return Ok(());
        }
        let mut partial = PartialFile::open(&incomplete, self.remote).map_err(|error| self.on_disk(error, 0))?;
        let mut was_resumed = partial.length() > 0;
        tracing::info!(file = name, bytes = size, resumed_at = partial.length(), "fetching");
        self.progress.advance(partial.length());
        loop {
            self.complete(&mut partial)?;
            let found = match partial.finish(&blob).map_err(|error| self.on_disk(error, *size))? {
                Ok(()) => return Ok(()),
                Err(found) => found,
            };
            remove_if_there(&incomplete).map_err(failed("remove", &incomplete))?;
            if !was_resumed {
                let (repository, file) = (self.repository.to_owned(), name.clone());
                return Err(HubError::Checksum { repository, file, expected: tag.clone(), found });
            }
            tracing::warn!(file = name, found, "what was there is not the beginning of this file; it is fetched anew");
            was_resumed = false;
            self.progress.retreat(*size);
            partial = PartialFile::open(&incomplete, self.remote).map_err(|error| self.on_disk(error, 0))?;
        }
    }

    /// Asks again and again for what is missing, as long as more comes than there ever was.
    fn complete(&self, partial: &mut PartialFile) -> Result<(), HubError> {
        let mut attempts = self.client.attempts();
        let mut longest = partial.length();
        while !partial.is_complete() {
            let failure = match self.receive(partial) {
                Ok(()) if partial.is_complete() => return Ok(()),
                Ok(()) => Failure::Passing { problem: "the line broke".to_owned(), wait: None },
                Err(failure) => failure,
            };
            if partial.length() > longest {
                longest = partial.length();
                attempts.renew();
            }
            attempts.wait_after(failure)?;
        }
        Ok(())
    }

    /// Takes what one answer brings.
    fn receive(&self, partial: &mut PartialFile) -> Result<(), Failure> {
        let RemoteFile { url, .. } = self.remote;
        let from = partial.length();
        let answer = self.client.ask_once(Ask { url, repository: self.repository, head: false, from })?;
        if from > 0 && !continues(&answer, from) {
            // This server sends files from the start only, or another file.
            self.progress.retreat(from);
            partial.restart().map_err(|error| self.lasting(error, 0))?;
            if answer.status != StatusCode::OK {
                return Err(Failure::Passing { problem: "it does not continue the file".to_owned(), wait: None });
            }
        }
        let mut body = answer.body.into_reader();
        let mut piece = vec![0; PIECE];
        while !partial.is_complete() {
            if self.client.stop().is_set() {
                return Err(Failure::Lasting(HubError::Abandoned));
            }
            let count = match body.read(&mut piece) {
                Ok(0) => return Ok(()),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(Failure::Passing { problem: error.to_string(), wait: None }),
            };
            let before = partial.length();
            partial.add(&piece[..count]).map_err(|error| self.lasting(error, before))?;
            self.progress.advance(partial.length() - before);
        }
        Ok(())
    }

    fn lasting(&self, error: io::Error, length: u64) -> Failure {
        Failure::Lasting(self.on_disk(error, length))
    }

    /// The error for a file that cannot be written, of which `length` bytes are there.
    fn on_disk(&self, error: io::Error, length: u64) -> HubError {
        let folder = self.cached.folder();
        match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => HubError::DiskFull {
                repository: self.repository.to_owned(),
                needed: self.remote.size.saturating_sub(length),
                free: free_bytes(folder).unwrap_or_default(),
                folder: folder.to_owned(),
            },
            _ => failed("write", &self.cached.incomplete(&self.remote.tag))(error),
        }
    }
}

/// Whether an answer continues a file at this byte.
fn continues(answer: &Answer, from: u64) -> bool {
    let range = answer.headers.get(header::CONTENT_RANGE).and_then(|value| value.to_str().ok());
    let begins = range.is_some_and(|range| range.starts_with(&format!("bytes {from}-")));
    answer.status == StatusCode::PARTIAL_CONTENT && begins
}

/// Bytes that the disk of a folder has room for; the folder may be missing.
pub fn free_bytes(folder: &std::path::Path) -> Option<u64> {
    let there = folder.ancestors().find(|folder| fs::metadata(folder).is_ok())?;
    let figures = rustix::fs::statvfs(there).ok()?;
    Some(figures.f_bavail.saturating_mul(figures.f_frsize))
}
