//! Copies to the host that nobody waits for yet.
//!
//! Used by `driver`. They land in memory that the GPU writes by itself, which is kept for the next ones.
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::sync::Mutex;

use cudarc::driver::{CudaEvent, CudaStream, DriverError, result};

use crate::cuda::locked;

/// Where fetches land.
#[derive(Default)]
pub(super) struct Landings(Mutex<Vec<Pinned>>);

/// Bytes on their way.
pub struct Fetch {
    into: Pinned,
    bytes: usize,
    landed: CudaEvent,
}

/// Memory of the host that stays where it is.
struct Pinned {
    memory: *mut c_void,
    bytes: usize,
}

// SAFETY: it is memory like any other, with one owner.
unsafe impl Send for Pinned {}

impl Landings {
    /// Copies from the device, after what the stream was asked before.
    ///
    /// # Safety
    /// The memory at the address is as long, and stays until the fetch is finished. The stream's context is bound.
    pub(super) unsafe fn start(&self, address: u64, bytes: usize, stream: &CudaStream) -> Fetch {
        let into = self.take(bytes);
        // SAFETY: it is at least as long, and nobody reads it before the copy is over.
        let target = unsafe { std::slice::from_raw_parts_mut(into.memory.cast::<u8>(), bytes) };
        // SAFETY: the caller's promise.
        let copied = unsafe { result::memcpy_dtoh_async(target, address, stream.cu_stream()) };
        let landed = copied.and_then(|()| stream.record_event(None));
        Fetch { into, bytes, landed: landed.unwrap_or_else(|error| fail(error)) }
    }

    /// Waits for it.
    pub(super) fn finish(&self, fetch: Fetch) -> Vec<u8> {
        let Fetch { into, bytes, landed } = fetch;
        landed.synchronize().unwrap_or_else(|error| fail(error));
        // SAFETY: so many bytes were copied there.
        let copied = unsafe { std::slice::from_raw_parts(into.memory.cast::<u8>(), bytes) }.to_vec();
        locked(&self.0).push(into);
        copied
    }

    fn take(&self, bytes: usize) -> Pinned {
        let mut kept = locked(&self.0);
        let fits = kept.iter().position(|pinned| pinned.bytes >= bytes);
        fits.map_or_else(|| Pinned::new(bytes.next_power_of_two()), |index| kept.swap_remove(index))
    }
}

impl Pinned {
    fn new(bytes: usize) -> Self {
        // SAFETY: the context is bound; what is not zeroed is written by the copy before it is read.
        let memory = unsafe { result::malloc_host(bytes, 0) };
        let memory = memory.unwrap_or_else(|error| fail(error));
        // SAFETY: it is that long; all of it is a number from here on.
        unsafe { memory.cast::<u8>().write_bytes(0, bytes) };
        Self { memory, bytes }
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // A device that fails here fails at the next call as well, which can say so.
        // SAFETY: it comes from `malloc_host`, once.
        let _ = unsafe { result::free_host(self.memory) };
    }
}

fn fail(error: DriverError) -> ! {
    panic!("the GPU failed at work it was given: {error}")
}
