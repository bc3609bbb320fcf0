//! How the system's allocator deals with large pieces of memory.
//!
//! Set once by `serve`. Bodies and answers come and go by the megabyte; what they leave behind should be nothing.
#![allow(unsafe_code)]

/// Has pieces of 256 KiB and more mapped one by one, and given back to the system as soon as they are freed.
///
/// glibc begins with such a bound as well, but raises it to the size of what was freed last, 32 MiB at most: from then on
/// bodies lie among what lives longer, and tens of megabytes stay with the process.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub fn give_back_large_pieces() {
    const BOUND_BYTES: std::ffi::c_int = 256 << 10;
    // SAFETY: it changes a number under the allocator's own lock, and no memory that is in use.
    let is_set = unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, BOUND_BYTES) };
    if is_set == 0 {
        tracing::debug!("the allocator keeps its own bound for large pieces");
    }
}

/// Other allocators are left as they are.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub const fn give_back_large_pieces() {}
