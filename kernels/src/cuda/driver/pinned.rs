//! Pinned memory of the host, which the GPU reads and writes by itself, kept from copy to copy.
//!
//! Used by `driver`. A long copy from memory that is not pinned would wait for all earlier work.
#![allow(unsafe_code)]

use std::collections::VecDeque;
use std::ffi::c_void;
use std::sync::Mutex;

use cudarc::driver::{CudaEvent, CudaStream, DriverError, result};

use crate::cuda::lock::locked;

/// Longest copy from the host that the driver buffers itself, so that it returns at once.
const PUT_ASIDE_BYTES: usize = 64 << 10;
/// Bytes that may be on their way to the device at once. Beyond that the next copy waits for the oldest.
const MOST_LEAVING_BYTES: usize = 64 << 20;

/// Pinned memory: free, and on its way to the device.
#[derive(Default)]
pub(super) struct Pool {
    free: Mutex<Vec<Pinned>>,
    /// Memory that is being copied, the oldest first, each with the event of its copy's end.
    leaving: Mutex<VecDeque<(Pinned, CudaEvent)>>,
}

/// Memory of the host that stays at its address.
pub(super) struct Pinned {
    memory: *mut c_void,
    bytes: usize,
}

// SAFETY: the memory has one owner and belongs to no thread.
unsafe impl Send for Pinned {}

impl Pool {
    /// Takes memory of at least `bytes`. The context is bound.
    pub(super) fn take(&self, bytes: usize) -> Pinned {
        let mut free = locked(&self.free);
        let fitting = (0..free.len()).filter(|&index| free[index].bytes >= bytes);
        let smallest = fitting.min_by_key(|&index| free[index].bytes);
        smallest.map_or_else(|| Pinned::new(bytes.next_power_of_two()), |index| free.swap_remove(index))
    }

    pub(super) fn give_back(&self, pinned: Pinned) {
        locked(&self.free).push(pinned);
    }

    /// Copies to the device after all earlier work of the stream. `bytes` may change once this returns.
    ///
    /// # Safety
    /// The memory at the address is as long. The stream's context is bound.
    pub(super) unsafe fn write(&self, bytes: &[u8], address: u64, stream: &CudaStream) {
        if bytes.len() <= PUT_ASIDE_BYTES {
            // SAFETY: the caller answers for the memory; the driver has its own copy when it returns.
            let copied = unsafe { result::memcpy_htod_async(address, bytes, stream.cu_stream()) };
            return copied.unwrap_or_else(|error| fail(error));
        }
        let mut leaving = locked(&self.leaving);
        let mut on_their_way: usize = leaving.iter().map(|(pinned, _)| pinned.bytes).sum();
        while leaving.front().is_some_and(|(_, left)| left.is_complete()) || on_their_way > MOST_LEAVING_BYTES {
            let Some((pinned, left)) = leaving.pop_front() else { break };
            left.synchronize().unwrap_or_else(|error| fail(error));
            on_their_way -= pinned.bytes;
            self.give_back(pinned);
        }
        let mut pinned = self.take(bytes.len());
        let own = &mut pinned.bytes_mut()[..bytes.len()];
        own.copy_from_slice(bytes);
        // SAFETY: the caller answers for the memory; the pinned bytes are not written again before the copy has ended.
        let copied = unsafe { result::memcpy_htod_async(address, own, stream.cu_stream()) };
        let left = copied.and_then(|()| stream.record_event(None));
        leaving.push_back((pinned, left.unwrap_or_else(|error| fail(error))));
    }
}

impl Pinned {
    fn new(bytes: usize) -> Self {
        // SAFETY: the context is bound; it is written below before it is read.
        let memory = unsafe { result::malloc_host(bytes, 0) };
        let memory = memory.unwrap_or_else(|error| fail(error));
        // SAFETY: the memory was just allocated with that many bytes.
        unsafe { memory.cast::<u8>().write_bytes(0, bytes) };
        Self { memory, bytes }
    }

    /// All bytes. Nobody may look at them while a copy is under way.
    pub(super) const fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: the memory has that many bytes, all written by `new`, and `&mut self` is the only way to it.
        unsafe { std::slice::from_raw_parts_mut(self.memory.cast::<u8>(), self.bytes) }
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // A device that fails here fails at the next call as well, which can say so.
        // SAFETY: the memory comes from `malloc_host`, and a value is dropped once.
        let _ = unsafe { result::free_host(self.memory) };
    }
}

pub(super) fn fail(error: DriverError) -> ! {
    panic!("the GPU failed at work it was given: {error}")
}
