//! Token ids as the token cache stores them: bytes that are read as numbers on demand.
//!
//! Handed out by `data_set`, read by `objective`.

use std::ops::Range;

const ID_BYTES: usize = size_of::<u32>();

/// A run of consecutive token ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::training) struct Ids<'a>(&'a [u8]);

impl<'a> Ids<'a> {
    /// The ids that little-endian bytes hold.
    pub fn of_bytes(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The little-endian bytes of ids.
    pub fn bytes_of(ids: &[u32]) -> Vec<u8> {
        ids.iter().flat_map(|id| id.to_le_bytes()).collect()
    }

    pub fn len(self) -> usize {
        self.0.len() / ID_BYTES
    }

    pub fn get(self, index: usize) -> u32 {
        let bytes = self.0[index * ID_BYTES..].first_chunk().expect("an id has four bytes");
        u32::from_le_bytes(*bytes)
    }

    pub fn slice(self, range: Range<usize>) -> Self {
        Self(&self.0[range.start * ID_BYTES..range.end * ID_BYTES])
    }

    pub fn iter(self) -> impl ExactSizeIterator<Item = u32> + 'a {
        self.0.as_chunks().0.iter().map(|bytes| u32::from_le_bytes(*bytes))
    }

    pub fn to_vec(self) -> Vec<u32> {
        self.iter().collect()
    }
}
