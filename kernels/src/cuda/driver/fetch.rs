//! Copies to the host that go on beside other work.
//!
//! Used by `driver`. They land in pinned memory, which the GPU writes by itself.
#![allow(unsafe_code)]

use cudarc::driver::{CudaEvent, CudaStream, result};

use super::pinned::{Pinned, Pool, fail};

/// Bytes on their way.
pub struct Fetch {
    into: Pinned,
    bytes: usize,
    landed: CudaEvent,
}

/// Begins a copy from the device, after all earlier work of the stream.
///
/// # Safety
/// The memory at the address is as long and is not freed before the fetch is finished. The stream's context is bound.
pub(super) unsafe fn start(pool: &Pool, address: u64, bytes: usize, stream: &CudaStream) -> Fetch {
    let mut into = pool.take(bytes);
    // SAFETY: the caller answers for the memory; nobody reads where the copy lands before it has ended.
    let copied = unsafe { result::memcpy_dtoh_async(&mut into.bytes_mut()[..bytes], address, stream.cu_stream()) };
    let landed = copied.and_then(|()| stream.record_event(None));
    Fetch { into, bytes, landed: landed.unwrap_or_else(|error| fail(error)) }
}

/// Waits for the copy and returns its bytes.
pub(super) fn finish(pool: &Pool, fetch: Fetch) -> Vec<u8> {
    let Fetch { mut into, bytes, landed } = fetch;
    landed.synchronize().unwrap_or_else(|error| fail(error));
    let copied = into.bytes_mut()[..bytes].to_vec();
    pool.give_back(into);
    copied
}
