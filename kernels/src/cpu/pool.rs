//! A fixed thread pool with a static split: every thread gets the same share of every job.
//!
//! Called by the CPU ops. Workers spin briefly between the ops of a step, then sleep: an idle server uses no
//! processor time. Holds the lifetime-erasing unsafe code of the pool; ops see safe functions.
#![allow(unsafe_code)]

use std::cell::UnsafeCell;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{JoinHandle, Thread};

/// As the least number of items worth splitting: run on the calling thread alone.
pub const ALONE: usize = usize::MAX;

/// Turns of the spin loop before a worker sleeps: some 50 microseconds.
const SPIN_TURNS: u32 = 2_000;

type Job = *const (dyn Fn(usize) + Sync);

struct Shared {
    /// Counts jobs; a change wakes the workers.
    generation: AtomicUsize,
    /// Workers still busy with the current job.
    busy: AtomicUsize,
    /// The current job, valid while `busy` is above zero.
    job: UnsafeCell<Option<Job>>,
    stop: AtomicBool,
    panicked: AtomicBool,
}

// SAFETY: `job` is written by the owner only while `busy` is zero, and read by workers only between the
// release-store of `generation` that follows the write and their own decrement of `busy`.
unsafe impl Sync for Shared {}
// SAFETY: the pointer inside is to a `Sync` closure that outlives the job (see `run`).
unsafe impl Send for Shared {}

/// Threads that run one closure at a time, the caller being thread 0.
pub struct Pool {
    shared: Arc<Shared>,
    workers: Vec<(Thread, Option<JoinHandle<()>>)>,
    /// Whether a job runs: `run` may not be entered twice at once.
    running: AtomicBool,
}

impl Pool {
    /// A pool of `threads` threads in all, at least one.
    pub fn new(threads: usize) -> Self {
        let shared = Arc::new(Shared {
            generation: AtomicUsize::new(0),
            busy: AtomicUsize::new(0),
            job: UnsafeCell::new(None),
            stop: AtomicBool::new(false),
            panicked: AtomicBool::new(false),
        });
        let workers = (1..threads.max(1))
            .map(|index| {
                let shared = Arc::clone(&shared);
                let handle = std::thread::Builder::new()
                    .name(format!("kernel-{index}"))
                    .spawn(move || work(&shared, index))
                    .expect("the system can start a few threads at start-up");
                (handle.thread().clone(), Some(handle))
            })
            .collect();
        Self { shared, workers, running: AtomicBool::new(false) }
    }

    /// Threads, the caller included.
    pub fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Runs `job(thread)` once on every thread and returns when all are done.
    pub fn run(&self, job: &(dyn Fn(usize) + Sync)) {
        if self.workers.is_empty() {
            return job(0);
        }
        assert!(!self.running.swap(true, Ordering::Acquire), "jobs of one pool do not nest");
        // SAFETY: only the lifetime is erased; this function does not return before every worker is done.
        let erased: Job = unsafe { std::mem::transmute::<*const (dyn Fn(usize) + Sync + '_), Job>(job) };
        // SAFETY: no worker reads the cell while `busy` is zero.
        unsafe { *self.shared.job.get() = Some(erased) };
        self.shared.busy.store(self.workers.len(), Ordering::Relaxed);
        self.shared.generation.fetch_add(1, Ordering::Release);
        for (thread, _) in &self.workers {
            thread.unpark();
        }
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| job(0)));
        let mut turns = 0_u32;
        while self.shared.busy.load(Ordering::Acquire) > 0 {
            turns += 1;
            // A worker may have lost its core to another process: give ours away rather than burn it.
            if turns.is_multiple_of(1024) { std::thread::yield_now() } else { std::hint::spin_loop() }
        }
        self.running.store(false, Ordering::Release);
        let worker_panicked = self.shared.panicked.swap(false, Ordering::Relaxed);
        if let Err(panic) = outcome {
            std::panic::resume_unwind(panic);
        }
        assert!(!worker_panicked, "a kernel thread panicked");
    }

    /// Splits `0 .. items` evenly over the threads and runs `job(share)` on each; small jobs (`items` below
    /// `least`) run on the caller alone.
    pub fn split(&self, items: usize, least: usize, job: impl Fn(Range<usize>) + Sync) {
        if items == 0 {
            return;
        }
        if items < least.max(2) {
            return job(0..items);
        }
        let threads = self.threads();
        self.run(&|thread| {
            let share = items * thread / threads..items * (thread + 1) / threads;
            if !share.is_empty() {
                job(share);
            }
        });
    }

    /// As [`Self::split`], over rows of a buffer: each thread gets its rows as a slice of its own.
    pub fn split_rows<T: Send>(
        &self,
        (data, width): (&mut [T], usize),
        rows: usize,
        least: usize,
        job: impl Fn(Range<usize>, &mut [T]) + Sync,
    ) {
        let data = SharedMut::new(&mut data[..rows * width]);
        self.split(rows, least, |share| {
            // SAFETY: shares are disjoint ranges of rows, so the slices do not overlap.
            let slice = unsafe { data.slice(share.start * width..share.end * width) };
            job(share, slice);
        });
    }

    /// As [`Self::split_rows`], over two buffers of the same shape.
    pub fn split_row_pairs<T: Send>(
        &self,
        (first, second, width): (&mut [T], &mut [T], usize),
        rows: usize,
        least: usize,
        job: impl Fn(Range<usize>, &mut [T], &mut [T]) + Sync,
    ) {
        let second = SharedMut::new(&mut second[..rows * width]);
        self.split_rows((first, width), rows, least, |share, first| {
            // SAFETY: as above.
            let second = unsafe { second.slice(share.start * width..share.end * width) };
            job(share, first, second);
        });
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        for (thread, handle) in &mut self.workers {
            thread.unpark();
            if let Some(handle) = handle.take() {
                // A worker that panicked was reported by `run` already.
                let _ = handle.join();
            }
        }
    }
}

fn work(shared: &Shared, index: usize) {
    let mut seen = 0;
    loop {
        let mut turns = 0;
        while shared.generation.load(Ordering::Acquire) == seen {
            if shared.stop.load(Ordering::Acquire) {
                return;
            }
            turns += 1;
            if turns < SPIN_TURNS { std::hint::spin_loop() } else { std::thread::park() }
        }
        seen += 1;
        // SAFETY: the generation changed, so the job was written before, and stays until `busy` is zero.
        let job = unsafe { (*shared.job.get()).expect("a job is set before its generation") };
        // SAFETY: `run` keeps the closure alive until every worker has decremented `busy`.
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| unsafe { (*job)(index) }));
        if outcome.is_err() {
            shared.panicked.store(true, Ordering::Relaxed);
        }
        shared.busy.fetch_sub(1, Ordering::Release);
    }
}

/// A slice that several threads write, each its own part.
pub struct SharedMut<'a, T> {
    start: *mut T,
    len: usize,
    owner: std::marker::PhantomData<&'a mut [T]>,
}

// SAFETY: threads reach disjoint parts only, by the contracts of the functions below.
unsafe impl<T: Send> Sync for SharedMut<'_, T> {}

impl<'a, T> SharedMut<'a, T> {
    /// Shares a slice for as long as it is borrowed.
    pub fn new(data: &'a mut [T]) -> Self {
        Self { start: data.as_mut_ptr(), len: data.len(), owner: std::marker::PhantomData }
    }

    /// A part of the slice that belongs to one thread's share.
    ///
    /// # Safety
    /// No two parts that are alive at once may overlap.
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn slice(&self, range: Range<usize>) -> &mut [T] {
        assert!(range.start <= range.end && range.end <= self.len, "part of a shared slice out of range");
        // SAFETY: in range by the assertion; exclusive by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(range.start), range.len()) }
    }

    /// A pointer to element `index`, for strided stores.
    ///
    /// # Safety
    /// What is written through it must stay inside the slice and apart from other threads' parts.
    pub unsafe fn at(&self, index: usize) -> *mut T {
        debug_assert!(index <= self.len);
        // SAFETY: inside or one past the slice by the caller's promise.
        unsafe { self.start.add(index) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_thread_runs_every_job_once() {
        let pool = Pool::new(3);
        let counts: Vec<AtomicUsize> = (0..3).map(|_| AtomicUsize::new(0)).collect();
        for _ in 0..500 {
            pool.run(&|thread| {
                counts[thread].fetch_add(1, Ordering::Relaxed);
            });
        }
        assert!(counts.iter().all(|c| c.load(Ordering::Relaxed) == 500));
    }

    #[test]
    fn a_split_covers_all_items_once_after_sleep() {
        let pool = Pool::new(2);
        for items in [1, 2, 7, 1000] {
            std::thread::sleep(std::time::Duration::from_millis(2));
            let mut data = vec![0_u32; items * 3];
            pool.split_rows((&mut data, 3), items, 1, |share, slice| {
                assert_eq!(slice.len(), share.len() * 3);
                slice.iter_mut().for_each(|value| *value += 1);
            });
            assert!(data.iter().all(|&value| value == 1));
        }
    }

    #[test]
    fn a_panic_in_a_job_reaches_the_caller_and_the_pool_lives_on() {
        let pool = Pool::new(2);
        for failing in [&[1][..], &[0], &[0, 1]] {
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                pool.run(&|thread| assert!(!failing.contains(&thread), "on purpose"));
            }));
            assert!(result.is_err());
            pool.split(10, 1, |_| ());
        }
    }
}
