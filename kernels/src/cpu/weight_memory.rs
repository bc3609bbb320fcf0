//! Memory of weights: matrices lie side by side in large chunks, so that huge pages hold small ones too.
//!
//! Used by everything that packs weights. A matrix of a small model is shorter than a huge page. In small pages, a
//! product would stop at the end of every page: the processor fetches no further ahead, and must look up an address.

use std::sync::Mutex;

use super::buffer::{Buffer, Chunk, HUGE_PAGE, Plain};
use super::pool::{Pool, locked};
use crate::error::Result;

/// Most bytes of a chunk. The first is one huge page, and each is twice as long as the one before. What is left at the
/// end, when the next buffer is longer, is never taken from the system.
const LARGEST_CHUNK: usize = 32 * HUGE_PAGE;

/// Weights of at least this many bytes have pages of their own.
const OWN_PAGES: usize = LARGEST_CHUNK / 4;

/// Memory that matrices of one device share.
#[derive(Default)]
pub(crate) struct WeightMemory(Mutex<Latest>);

/// The chunk that the next buffer is taken from, and its bytes.
#[derive(Default)]
struct Latest {
    chunk: Option<Chunk>,
    bytes: usize,
}

impl WeightMemory {
    /// `len` zeros; `purpose` is named when the system has no memory for them.
    fn zeroed<T: Plain>(&self, len: usize, purpose: &'static str) -> Result<Buffer<T>> {
        let bytes = len.saturating_mul(size_of::<T>());
        if bytes >= OWN_PAGES {
            return Buffer::zeroed(len, purpose);
        }
        let mut latest = locked(&self.0);
        if let Some(buffer) = latest.chunk.as_mut().and_then(|chunk| chunk.take(len)) {
            return Ok(buffer);
        }
        let most = (2 * latest.bytes).clamp(HUGE_PAGE, LARGEST_CHUNK).max(bytes.next_multiple_of(HUGE_PAGE));
        match Chunk::new(most).and_then(|mut chunk| Some((chunk.take(len)?, chunk))) {
            Some((buffer, chunk)) => {
                *latest = Latest { chunk: Some(chunk), bytes: most };
                Ok(buffer)
            }
            // The system may have as much as is needed now.
            None => Buffer::zeroed(len, purpose),
        }
    }
}

/// How weights are packed: by which threads, and into which memory.
#[derive(Clone, Copy)]
pub(crate) struct Packing<'a> {
    pub pool: &'a Pool,
    pub memory: &'a WeightMemory,
}

impl Packing<'_> {
    /// Zeroed memory for weights; `purpose` is named when the system has none.
    pub fn zeroed<T: Plain>(&self, len: usize, purpose: &'static str) -> Result<Buffer<T>> {
        self.memory.zeroed(len, purpose)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_weights_lie_side_by_side_and_large_ones_apart() {
        let memory = WeightMemory::default();
        let [first, second] = [0; 2].map(|_| memory.zeroed::<u32>(3200, "a test").unwrap());
        let _large = memory.zeroed::<u8>(OWN_PAGES, "a test").unwrap();
        let third = memory.zeroed::<u8>(1, "a test").unwrap();
        let starts = [first.as_ptr().addr(), second.as_ptr().addr(), third.as_ptr().addr()];
        assert_eq!(starts.map(|start| start - starts[0]), [0, 3200 * 4, 2 * 3200 * 4]);
        assert!(memory.zeroed::<u32>(0, "a test").unwrap().is_empty());
    }

    #[test]
    fn weights_beyond_the_first_chunk_are_zero_and_apart_from_all_others() {
        let memory = WeightMemory::default();
        let words = (HUGE_PAGE - 4) / 4;
        let mut buffers: Vec<Buffer<u32>> = (0..20).map(|_| memory.zeroed(words, "a test").unwrap()).collect();
        for (index, buffer) in (1..).zip(&mut buffers) {
            assert_eq!([buffer[0], buffer[words - 1]], [0, 0]);
            (buffer[0], buffer[words - 1]) = (index, index);
        }
        drop(memory);
        assert!((1..).zip(&buffers).all(|(index, buffer)| [buffer[0], buffer[words - 1]] == [index, index]));
    }

    #[test]
    fn an_impossible_size_is_an_error_that_says_so() {
        let error = WeightMemory::default().zeroed::<f32>(usize::MAX / 8, "a test").unwrap_err();
        assert!(error.to_string().contains("for a test"), "{error}");
    }
}
