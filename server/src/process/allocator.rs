//! How the system's allocator deals with large pieces of memory, and what happens when it has none.
//!
//! Set once by `serve` and `main`. Bodies and answers come and go by the megabyte; what they leave behind should be nothing.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::Write;

/// The system's allocator, of which every request is met: without memory the process says so and exits with 1. What may
/// be refused (weights, pages, workspaces) is asked of the system itself and does not come here.
#[derive(Debug)]
pub struct OrExit;

// SAFETY: every call is handed to the system's allocator as it is; the null pointer alone is not passed on.
unsafe impl GlobalAlloc for OrExit {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are those that the system's allocator asks for.
        given(unsafe { System.alloc(layout) }, layout.size())
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        given(unsafe { System.alloc_zeroed(layout) }, layout.size())
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: as above.
        given(unsafe { System.realloc(memory, layout, new_size) }, new_size)
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(memory, layout) }
    }
}

fn given(memory: *mut u8, bytes: usize) -> *mut u8 {
    if memory.is_null() { out_of_memory(bytes) } else { memory }
}

/// Nothing on this way may ask for memory.
#[cold]
fn out_of_memory(bytes: usize) -> ! {
    let mut text = [0; 160];
    let mut rest = &mut text[..];
    // The text is shorter than its place, whatever the number.
    let _ = writeln!(
        rest,
        "error: the system has no {bytes} bytes of memory more for this process (ulimit -v, memory.max)"
    );
    let left = rest.len();
    let said = &text[..text.len() - left];
    // SAFETY: the text lives until the call returns; a refusal to write it changes nothing.
    unsafe { libc::write(libc::STDERR_FILENO, said.as_ptr().cast(), said.len()) };
    // SAFETY: it ends the process; what is registered for its end may want memory and is left out.
    unsafe { libc::_exit(1) }
}

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
