//! Bytes of a file in memory: part of the program, on the heap, or in huge pages when they are many.
//!
//! Made by `open_file`, held by a tensor's data.

use std::ops::{Deref, DerefMut};

use kernels::cpu::Buffer;

use crate::error::Result;

/// Buffers of at least this many bytes have huge pages. The heap would return such a block to the system as well, and
/// take the next one page by page.
const LONG_BYTES: usize = 1 << 21;

/// Bytes that are owned or part of the program.
#[derive(Debug)]
pub(crate) enum Bytes {
    Embedded(&'static [u8]),
    Owned(OwnedBytes),
}

/// Bytes to read into.
#[derive(Debug)]
pub(crate) enum OwnedBytes {
    Short(Vec<u8>),
    Long(Buffer<u8>),
}

impl OwnedBytes {
    /// A buffer of `len` zeros.
    ///
    /// # Errors
    /// When the system has no memory for them.
    pub fn zeroed(len: usize) -> Result<Self> {
        if len < LONG_BYTES {
            return Ok(Self::Short(vec![0; len]));
        }
        Ok(Self::Long(Buffer::zeroed(len, "a tensor that is being loaded")?))
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Embedded(bytes) => bytes,
            Self::Owned(bytes) => bytes,
        }
    }
}

impl Deref for OwnedBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Short(bytes) => bytes,
            Self::Long(bytes) => bytes,
        }
    }
}

impl DerefMut for OwnedBytes {
    fn deref_mut(&mut self) -> &mut [u8] {
        match self {
            Self::Short(bytes) => bytes,
            Self::Long(bytes) => bytes,
        }
    }
}
