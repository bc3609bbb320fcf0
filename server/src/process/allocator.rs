//! The process's allocator: large allocations go back to the system or ask for huge pages, and running out of memory
//! ends the process.
//!
//! Set once by `main`, `serve` and `train`. Bodies and answers come and go by the megabyte and should leave no memory
//! behind; the gradients of a training come and go by the gigabyte and should cost few page faults.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};

/// Fewest bytes of an allocation that asks for huge pages: wherever it begins, one of 2 MiB fits in.
const HUGE_BYTES: usize = 4 << 20;
/// Whether large allocations ask for huge pages.
static HUGE_PAGES: AtomicBool = AtomicBool::new(false);

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
        advised(given(unsafe { System.alloc(layout) }, layout.size()), layout.size())
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises about `layout` are those that the system's allocator asks for.
        advised(given(unsafe { System.alloc_zeroed(layout) }, layout.size()), layout.size())
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: `memory` came from the system's allocator with this `layout`, as the caller promises.
        advised(given(unsafe { System.realloc(memory, layout, new_size) }, new_size), new_size)
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: `memory` came from the system's allocator with this `layout`, as the caller promises.
        unsafe { System.dealloc(memory, layout) }
    }
}

fn given(memory: *mut u8, bytes: usize) -> *mut u8 {
    if memory.is_null() && !MAY_BE_REFUSED.get() { out_of_memory(bytes) } else { memory }
}

/// Asks for huge pages for a large allocation, if that is wanted.
fn advised(memory: *mut u8, bytes: usize) -> *mut u8 {
    if bytes >= HUGE_BYTES && HUGE_PAGES.load(Ordering::Relaxed) && !memory.is_null() {
        advise(memory, bytes);
    }
    memory
}

#[cfg(target_os = "linux")]
fn advise(memory: *mut u8, bytes: usize) {
    const PAGE: usize = 4096;
    let before = memory.align_offset(PAGE);
    let start = memory.wrapping_add(before);
    // SAFETY: the range lies inside the allocation. Advice only: a refusal costs speed, not correctness.
    unsafe { libc::madvise(start.cast(), (bytes - before) / PAGE * PAGE, libc::MADV_HUGEPAGE) };
}

#[cfg(not(target_os = "linux"))]
const fn advise(_: *mut u8, _: usize) {}

/// Makes allocations of 4 MiB and more ask for huge pages from now on.
///
/// A training step takes and gives back the gradients of all weights. In pages of 4 KiB, a model of 368 million weights
/// takes half a million page faults a step.
pub fn use_huge_pages() {
    HUGE_PAGES.store(true, Ordering::Relaxed);
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// Flags of the mapping that holds an address.
    fn flags(address: usize) -> String {
        let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let mut holds = false;
        for line in maps.lines() {
            let bounds = line.split_whitespace().next().and_then(|range| range.split_once('-'));
            let number = |text: &str| usize::from_str_radix(text, 16).ok();
            if let Some((Some(start), Some(end))) = bounds.map(|(start, end)| (number(start), number(end))) {
                holds = (start..end).contains(&address);
            } else if let Some(flags) = line.strip_prefix("VmFlags:").filter(|_| holds) {
                return flags.to_owned();
            }
        }
        panic!("no mapping holds {address:x}")
    }

    #[test]
    fn large_allocations_ask_for_huge_pages_once_that_is_wanted() {
        if !Path::new("/sys/kernel/mm/transparent_hugepage").exists() {
            eprintln!("this kernel has no huge pages for anonymous memory: nothing is tested");
            return;
        }
        let asks = |bytes: usize| {
            let layout = Layout::from_size_align(bytes, 64).unwrap();
            // SAFETY: the layout has a size, and the memory is given back with the layout that it was taken with.
            let memory = unsafe { OrExit.alloc_zeroed(layout) };
            let asks = flags(memory.addr() + bytes / 2).split_whitespace().any(|flag| flag == "hg");
            // SAFETY: it was taken with this layout, and nothing borrows it.
            unsafe { OrExit.dealloc(memory, layout) };
            asks
        };
        assert!(!asks(64 << 20));
        use_huge_pages();
        assert!(asks(64 << 20));
        HUGE_PAGES.store(false, Ordering::Relaxed);
    }
}
