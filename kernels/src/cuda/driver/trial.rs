//! The fastest of several kernels that compute the same, found by trying each on memory that no cache holds.
//!
//! Used by `driver`.
#![allow(unsafe_code)]

use std::time::Duration;

use cudarc::driver::{CudaStream, DriverError, result, sys};

use crate::cuda::device::Work;

/// Tries of each kernel. The shortest counts, since nothing makes a kernel faster than it is.
const ROUNDS: usize = 5;
/// Most bytes that are written between two tries: more than the caches of GPUs hold.
const MOST_CACHE_BYTES: usize = 128 << 20;

/// Index of the fastest work. Other work on the device slows all of them down alike.
///
/// # Safety
/// `run` may be asked to do each of the works. The stream's context is bound.
pub(super) unsafe fn fastest(works: &[Work], stream: &CudaStream, run: impl Fn(&Work)) -> usize {
    let cache_bytes = cache_bytes(stream);
    // SAFETY: the context is bound. Where there is no room the tries are made with what the caches hold.
    let cold = unsafe { result::malloc_sync(cache_bytes) }.ok();
    let mut shortest = vec![Duration::MAX; works.len()];
    // The first round loads the kernels.
    for round in 0..=ROUNDS {
        for (work, shortest) in works.iter().zip(&mut shortest) {
            if let Some(address) = cold {
                // SAFETY: the memory is that long.
                done(unsafe { result::memset_d8_async(address, 0, cache_bytes, stream.cu_stream()) });
            }
            let took = timed(stream, || run(work));
            if round > 0 {
                *shortest = took.min(*shortest);
            }
        }
    }
    if let Some(address) = cold {
        // SAFETY: it was allocated above, and the last event came after all that uses it.
        done(unsafe { result::free_sync(address) });
    }
    let order = (0..works.len()).min_by_key(|&index| shortest[index]);
    order.expect("there is something to choose from")
}

/// Bytes that leave nothing in the GPU's cache of what was there: four times what it holds, or the most.
fn cache_bytes(stream: &CudaStream) -> usize {
    let held = stream.context().attribute(sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE);
    let held = held.ok().and_then(|bytes| usize::try_from(bytes).ok()).filter(|&bytes| bytes > 0);
    held.map_or(MOST_CACHE_BYTES, |held| MOST_CACHE_BYTES.min(4 * held))
}

fn timed(stream: &CudaStream, run: impl FnOnce()) -> Duration {
    let now = || done(stream.record_event(Some(sys::CUevent_flags::CU_EVENT_DEFAULT)));
    let began = now();
    run();
    let milliseconds = done(began.elapsed_ms(&now()));
    Duration::from_secs_f32(milliseconds / 1e3)
}

fn done<T>(step: Result<T, DriverError>) -> T {
    step.unwrap_or_else(|error| panic!("the GPU does not measure time: {error}"))
}
