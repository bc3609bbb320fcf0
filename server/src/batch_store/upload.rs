//! A file on its way in: written piece by piece within the limits, kept once it is whole.

use std::fs::File;
use std::io::Write;

use super::clock::now;
use super::error::StoreError;
use super::file_record::{FileRecord, REQUESTS};
use super::folder::remove;
use super::store::{BatchStore, Owner};

/// Description of an upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadName {
    /// The file's name at the client.
    pub filename: String,
    /// Seconds for which it is kept, if the client wants it to be kept for a shorter time than others.
    pub keep_s: Option<u64>,
}

/// A file on its way in. Dropped before [`Upload::finish`], it is removed.
#[derive(Debug)]
pub struct Upload {
    store: BatchStore,
    owner: Owner,
    id: String,
    file: File,
    bytes: u64,
    is_kept: bool,
}

impl Upload {
    /// Begins a file of `owner`. Takes time.
    ///
    /// # Errors
    /// When as many files are kept as may be, or the disk refuses.
    pub fn begin(store: &BatchStore, owner: &Owner) -> Result<Self, StoreError> {
        let (id, owner) = (store.new_id("file-"), owner.clone());
        store.begin_upload(&owner)?;
        match File::create_new(store.folder().upload(&id)) {
            Ok(file) => Ok(Self { store: store.clone(), owner, id, file, bytes: 0, is_kept: false }),
            Err(error) => {
                store.end_upload(&owner);
                Err(error.into())
            }
        }
    }

    /// Adds a piece. Takes time.
    ///
    /// # Errors
    /// When the file, or all files together, are too large, or the disk is full.
    pub fn write(&mut self, piece: &[u8]) -> Result<(), StoreError> {
        let more = piece.len() as u64;
        let limit = self.store.limits().file_bytes;
        if self.bytes.saturating_add(more) > limit {
            return Err(StoreError::FileTooLarge { limit });
        }
        self.store.take_room(&self.owner, more)?;
        self.bytes += more;
        Ok(self.file.write_all(piece)?)
    }

    /// Number of bytes so far.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Keeps the file. Takes time.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn finish(mut self, name: UploadName) -> Result<FileRecord, StoreError> {
        let UploadName { filename, keep_s } = name;
        let (created_at, keep) = (now(), self.store.limits().keep.as_secs());
        let record = FileRecord {
            id: self.id.clone(),
            bytes: self.bytes,
            created_at,
            expires_at: created_at + keep_s.unwrap_or(keep).min(keep),
            filename,
            purpose: REQUESTS.to_owned(),
            owner: self.owner.0.clone(),
        };
        self.store.folder().place_upload(&self.id, &self.file)?;
        self.store.keep_upload(&record)?;
        self.is_kept = true;
        Ok(record)
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        self.store.end_upload(&self.owner);
        if self.is_kept {
            return;
        }
        self.store.give_room(&self.owner, self.bytes);
        // What cannot be removed is removed by the next start.
        let _ = remove(&self.store.folder().upload(&self.id));
        let _ = remove(&self.store.folder().contents(&self.id));
    }
}
