//! Copies to the host that nobody waits for yet.
//!
//! Used by `driver`. They land in memory that the GPU writes by itself.
#![allow(unsafe_code)]

use cudarc::driver::{CudaEvent, CudaStream, result};

use super::pinned::{Pinned, Pool, fail};

/// Bytes on their way.
pub struct Fetch {
    into: Pinned,
    bytes: usize,
    landed: CudaEvent,
}

/// Copies from the device, after what the stream was asked before.
///
/// # Safety
/// The memory at the address is as long, and stays until the fetch is finished. The stream's context is bound.
pub(super) unsafe fn start(pool: &Pool, address: u64, bytes: usize, stream: &CudaStream) -> Fetch {
    let mut into = pool.take(bytes);
    // SAFETY: the caller's promise; nobody reads where it lands before the copy is over.
    let copied = unsafe { result::memcpy_dtoh_async(&mut into.bytes_mut()[..bytes], address, stream.cu_stream()) };
    let landed = copied.and_then(|()| stream.record_event(None));
    Fetch { into, bytes, landed: landed.unwrap_or_else(|error| fail(error)) }
}

/// Waits for it.
pub(super) fn finish(pool: &Pool, fetch: Fetch) -> Vec<u8> {
    let Fetch { mut into, bytes, landed } = fetch;
    landed.synchronize().unwrap_or_else(|error| fail(error));
    let copied = into.bytes_mut()[..bytes].to_vec();
    pool.give_back(into);
    copied
}
