//! Bytes of a file, mapped into memory, and how to give their pages back. The only unsafe code of this crate.
//!
//! Used by `checkpoint` and by the token cache of training. It knows nothing of what the bytes mean.
#![allow(unsafe_code)]

use std::fs::File;
use std::ops::Range;
use std::path::Path;

use memmap2::{Mmap, UncheckedAdvice};

use crate::error::{Error, Result};

/// Bytes of a file, wherever they are.
#[derive(Debug)]
pub(crate) enum Bytes {
    /// Part of the program.
    Embedded(&'static [u8]),
    /// Mapped; always whole.
    Mapped(Mmap),
}

impl Bytes {
    /// Maps a regular file that is not empty.
    pub fn map(path: &Path, file: &File) -> Result<Self> {
        // SAFETY: the mapping is read-only and this process never writes the file. What remains is another process
        // changing or cutting the file while it is in use; that is the owner's to avoid, as with a program file.
        let mapping = unsafe { Mmap::map(file) };
        let mapping = mapping.map_err(|source| Error::File { action: "map", path: path.to_owned(), source })?;
        Ok(Self::Mapped(mapping))
    }

    pub fn as_slice(&self) -> &[u8] {
        match self {
            Self::Embedded(bytes) => bytes,
            Self::Mapped(mapping) => mapping,
        }
    }

    /// Gives the pages of `range` back. The system may refuse: that only costs memory.
    pub fn release(&self, range: Range<usize>) {
        let Self::Mapped(mapping) = self else { return };
        if range.is_empty() || range.end > mapping.len() {
            return;
        }
        // SAFETY: the mapping is read-only and backed by a file, so that a page given back (a neighbour's part of it
        // too) is read from the file again when touched, with the same contents; references into it stay valid.
        let _ = unsafe { mapping.unchecked_advise_range(UncheckedAdvice::DontNeed, range.start, range.len()) };
    }
}
