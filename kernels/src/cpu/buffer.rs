//! Memory of the CPU backend: zeroed, begins with a line of the cache, taken from the system as it is touched.
//!
//! Used by every CPU op, and for reading large parts of files. Large buffers ask for huge pages: products stream
//! through them, and far fewer pages have to be taken. Smaller buffers that are streamed share a [`Chunk`] for that.
#![allow(unsafe_code)]

use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::Arc;

use crate::error::{Error, Result};

/// Bytes of a huge page.
pub(super) const HUGE_PAGE: usize = 1 << 21;

/// Number types whose all-zero bytes are a value.
pub trait Plain: Copy + Send + Sync + 'static {}
impl Plain for f32 {}
impl Plain for u8 {}
impl Plain for u16 {}
impl Plain for u32 {}

/// A fixed-size array in anonymous memory.
#[derive(Debug)]
pub struct Buffer<T: Plain> {
    start: NonNull<T>,
    len: usize,
    /// Holds the array; `None` for an empty one.
    _mapping: Option<Arc<Mapping>>,
}

// SAFETY: the buffer alone has its part of the mapping; `T` is plain data.
unsafe impl<T: Plain> Send for Buffer<T> {}
// SAFETY: shared references only read.
unsafe impl<T: Plain> Sync for Buffer<T> {}

impl<T: Plain> Buffer<T> {
    /// `len` zeros in pages of their own; `purpose` is named when the system has no memory for them.
    pub fn zeroed(len: usize, purpose: &'static str) -> Result<Self> {
        let refused = Error::OutOfMemory { bytes: len.saturating_mul(size_of::<T>()), purpose };
        if len == 0 {
            return Ok(Self::empty());
        }
        let mapping = len.checked_mul(size_of::<T>()).and_then(Mapping::new).ok_or(refused)?;
        Ok(Self { start: mapping.start.cast(), len, _mapping: Some(Arc::new(mapping)) })
    }

    fn empty() -> Self {
        Self { start: NonNull::dangling(), len: 0, _mapping: None }
    }
}

/// Zeros in anonymous memory that are dealt out once, from the first on. The last buffer gives all of them back.
#[derive(Debug)]
pub(super) struct Chunk {
    mapping: Arc<Mapping>,
    used: usize,
}

impl Chunk {
    /// A chunk of so many bytes, at least one, unless the system refuses them.
    pub fn new(bytes: usize) -> Option<Self> {
        Some(Self { mapping: Arc::new(Mapping::new(bytes)?), used: 0 })
    }

    /// The next `len` zeros, unless too few are left.
    pub fn take<T: Plain>(&mut self, len: usize) -> Option<Buffer<T>> {
        if len == 0 {
            return Some(Buffer::empty());
        }
        let first = self.used.next_multiple_of(ALIGNMENT);
        let end = len.checked_mul(size_of::<T>())?.checked_add(first)?;
        if end > self.mapping.bytes {
            return None;
        }
        self.used = end;
        // SAFETY: inside the mapping, aligned for any plain type, and no other buffer gets these bytes.
        let start = unsafe { self.mapping.start.add(first) };
        Some(Buffer { start: start.cast(), len, _mapping: Some(Arc::clone(&self.mapping)) })
    }
}

/// Alignment of buffers in a chunk: two lines of the cache, which processors fetch in pairs.
const ALIGNMENT: usize = 128;

/// Anonymous memory, given back when it is dropped.
#[derive(Debug)]
struct Mapping {
    start: NonNull<u8>,
    bytes: usize,
}

// SAFETY: an address and a length; whoever reaches the memory through them answers for that.
unsafe impl Send for Mapping {}
// SAFETY: shared references give no access to the memory.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// So many zeros, at least one, unless the system refuses them.
    fn new(bytes: usize) -> Option<Self> {
        // SAFETY: a fresh private anonymous mapping; no address is asked for.
        let address = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if address == libc::MAP_FAILED {
            return None;
        }
        if bytes >= HUGE_PAGE {
            // SAFETY: the range was mapped above. Advice only: a refusal costs speed, not correctness.
            unsafe { libc::madvise(address, bytes, libc::MADV_HUGEPAGE) };
        }
        Some(Self { start: NonNull::new(address.cast())?, bytes })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: exactly the mapping made in `new`; nothing borrows it any more.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.bytes) };
    }
}

impl<T: Plain> Deref for Buffer<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        // SAFETY: mapped, zeroed and aligned for `len` values of a plain type.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl<T: Plain> DerefMut for Buffer<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: mapped, zeroed and aligned for `len` values of a plain type; `&mut self` is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_zeroed_and_writable() {
        let mut buffer = Buffer::<f32>::zeroed(1 << 21, "a test").unwrap();
        assert!(buffer.iter().all(|&value| value == 0.0));
        buffer[12345] = 1.0;
        assert_eq!(buffer[12345], 1.0);
        assert!(Buffer::<u32>::zeroed(0, "nothing").unwrap().is_empty());
    }

    #[test]
    fn buffers_of_a_chunk_lie_apart_until_it_is_used_up_and_outlive_it() {
        let mut chunk = Chunk::new(1024).unwrap();
        let mut first = chunk.take::<u8>(3).unwrap();
        let mut second = chunk.take::<u32>(100).unwrap();
        assert!(chunk.take::<u32>(200).is_none() && chunk.take::<u32>(usize::MAX).is_none());
        let mut third = chunk.take::<f32>(90).unwrap();
        assert!(chunk.take::<u8>(1000).is_none() && chunk.take::<u8>(0).unwrap().is_empty());
        drop(chunk);
        assert!(first.iter().all(|&v| v == 0) && second.iter().all(|&v| v == 0) && third.iter().all(|&v| v == 0.0));
        first.fill(1);
        second.fill(2);
        third.fill(3.0);
        assert!(first.iter().all(|&v| v == 1) && second.iter().all(|&v| v == 2) && third.iter().all(|&v| v == 3.0));
    }

    #[test]
    fn an_impossible_size_is_an_error_that_says_so() {
        let error = Buffer::<f32>::zeroed(usize::MAX / 8, "a test").unwrap_err();
        assert!(error.to_string().contains("for a test"), "{error}");
    }
}
