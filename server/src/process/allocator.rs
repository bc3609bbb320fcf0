//! The process's allocator: large allocations go back to the system, and running out of memory ends the process.
//!
//! Set once by `serve` and `main`. Bodies and answers come and go by the megabyte and should leave no memory behind.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::Write;

thread_local! {
    /// Whether an allocation of this thread may be refused.
    static MAY_BE_REFUSED: Cell<bool> = const { Cell::new(false) };
}

/// The system's allocator, but without memory the process says so and exits with 1. Allocations that may fail ask the
/// system directly (weights, pages, workspaces), or with [`try_reserve`] (bodies of requests).
#[derive(Debug)]
pub struct OrExit;

// SAFETY: every call is passed unchanged to the system's allocator; only the null pointer is not returned.
unsafe impl GlobalAlloc for OrExit {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are those that the system's allocator asks for.
        given(unsafe { System.alloc(layout) }, layout.size())
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises about `layout` are those that the system's allocator asks for.
        given(unsafe { System.alloc_zeroed(layout) }, layout.size())
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: `memory` came from the system's allocator with this `layout`, as the caller promises.
        given(unsafe { System.realloc(memory, layout, new_size) }, new_size)
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: `memory` came from the system's allocator with this `layout`, as the caller promises.
        unsafe { System.dealloc(memory, layout) }
    }
}

fn given(memory: *mut u8, bytes: usize) -> *mut u8 {
    if memory.is_null() && !MAY_BE_REFUSED.get() { out_of_memory(bytes) } else { memory }
}

/// The system has no memory for what a request wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutOfMemory;

/// Makes room for `more` bytes, or says that the system has none.
///
/// # Errors
/// [`OutOfMemory`]; `bytes` are as they were.
pub fn try_reserve(bytes: &mut Vec<u8>, more: usize) -> Result<(), OutOfMemory> {
    MAY_BE_REFUSED.set(true);
    let reserved = bytes.try_reserve(more);
    MAY_BE_REFUSED.set(false);
    reserved.map_err(|_| OutOfMemory)
}

/// Tries whether the system has so many bytes now. Who asks before a piece of work that cannot be refused half-way
/// leaves memory to those whose work has begun.
///
/// # Errors
/// [`OutOfMemory`].
pub fn check_room(bytes: usize) -> Result<(), OutOfMemory> {
    let mut room = Vec::new();
    let found = try_reserve(&mut room, bytes);
    // An allocation that nobody uses may be left out by the compiler.
    std::hint::black_box(&room);
    found
}

/// Prints the error and exits, without allocating.
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

/// Makes allocations of 256 KiB and more go back to the system as soon as they are freed.
///
/// By default, glibc has such a threshold as well, but raises it to the size of the last freed block, 32 MiB at most.
/// From then on bodies are placed among longer-lived blocks, and tens of megabytes stay with the process.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub fn give_back_large_pieces() {
    const BOUND_BYTES: std::ffi::c_int = 256 << 10;
    // SAFETY: the call changes a number under the allocator's own lock, and no memory that is in use.
    let is_set = unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, BOUND_BYTES) };
    if is_set == 0 {
        tracing::debug!("the allocator keeps its own bound for large pieces");
    }
}

/// Does nothing: other allocators are left as they are.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub const fn give_back_large_pieces() {}
