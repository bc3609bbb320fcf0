//! Memory of the CPU backend: zeroed, page-aligned, taken from the system as it is touched.
//!
//! Used by every CPU op, and for reading large parts of files. Large buffers ask for huge pages: products stream
//! through them, and far fewer pages have to be taken.
#![allow(unsafe_code)]

use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

use crate::error::{Error, Result};

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
}

// SAFETY: the buffer owns its memory; `T` is plain data.
unsafe impl<T: Plain> Send for Buffer<T> {}
// SAFETY: shared references only read.
unsafe impl<T: Plain> Sync for Buffer<T> {}

impl<T: Plain> Buffer<T> {
    /// `len` zeros; `purpose` is named when the system has no memory for them.
    pub fn zeroed(len: usize, purpose: &'static str) -> Result<Self> {
        let refused = Error::OutOfMemory { bytes: len.saturating_mul(size_of::<T>()), purpose };
        if len == 0 {
            return Ok(Self { start: NonNull::dangling(), len });
        }
        let Some(bytes) = len.checked_mul(size_of::<T>()) else { return Err(refused) };
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
            return Err(refused);
        }
        if bytes >= 1 << 21 {
            // SAFETY: the range was mapped above. Advice only: a refusal costs speed, not correctness.
            unsafe { libc::madvise(address, bytes, libc::MADV_HUGEPAGE) };
        }
        let start = NonNull::new(address.cast()).ok_or(refused)?;
        Ok(Self { start, len })
    }
}

impl<T: Plain> Drop for Buffer<T> {
    fn drop(&mut self) {
        if self.len > 0 {
            // SAFETY: exactly the mapping made in `zeroed`; nothing borrows it any more.
            unsafe { libc::munmap(self.start.as_ptr().cast(), self.len * size_of::<T>()) };
        }
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
    fn an_impossible_size_is_an_error_that_says_so() {
        let error = Buffer::<f32>::zeroed(usize::MAX / 8, "a test").unwrap_err();
        assert!(error.to_string().contains("for a test"), "{error}");
    }
}
