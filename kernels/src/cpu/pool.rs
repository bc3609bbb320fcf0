//! A fixed thread pool with a static split: every thread gets the same share of every job. Devices that share a pool
//! take turns at it, job by job; a job that is too small to be split runs on its caller beside any other.
//!
//! Called by the CPU ops. Workers spin briefly between the ops of a step, then sleep: an idle server uses no
//! processor time. Holds the lifetime-erasing unsafe code of the pool; ops see safe functions.
#![allow(unsafe_code)]

use std::cell::UnsafeCell;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{JoinHandle, Thread};

use super::turns::{Turns, work_in_turns_of_others};

/// Least number of items worth splitting that no job reaches: the job runs on the calling thread alone.
pub const ALONE: usize = usize::MAX;

/// Turns of the spin loop before a worker sleeps: 50 to 100 microseconds, by the length of the processor's pause.
pub(super) const SPIN_TURNS: u32 = 2_000;

/// Turns between two offers of the core to other threads: a few microseconds. On a busy machine two threads
/// of the pool may find themselves on one core, where each would otherwise wait for the end of the other's spinning.
const YIELD_TURNS: u32 = 64;

/// Locks working memory. It is overwritten before it is read, so a panic while it was held leaves nothing wrong.
pub fn locked<T>(space: &Mutex<T>) -> MutexGuard<'_, T> {
    space.lock().unwrap_or_else(PoisonError::into_inner)
}

type Job = *const (dyn Fn(usize) + Sync);

/// Threads of a call, in the low bits of [`Call::word`]; the calls are counted in the rest.
const THREAD_BITS: u32 = 16;

struct Shared {
    call: Apart<Call>,
    report: Apart<Report>,
}

/// Something with cache lines of its own (processors fetch them in pairs), so that threads that poll one thing are not
/// held up by those that write another.
#[repr(align(128))]
struct Apart<T>(T);

/// State that the owner writes and workers wait for.
struct Call {
    /// Counts jobs and says how many threads the current one is for; a change wakes the workers.
    word: AtomicUsize,
    /// The current job, valid while `busy` is above zero.
    job: UnsafeCell<Option<Job>>,
    stop: AtomicBool,
}

/// State that workers write and the owner waits for.
struct Report {
    /// Workers still busy with the current job.
    busy: AtomicUsize,
    panicked: AtomicBool,
}

// SAFETY: `job` is written by the owner only while `busy` is zero, and read only by the workers that the job is for,
// between the release-store of `word` that follows the write and their own decrement of `busy`.
unsafe impl Sync for Shared {}
// SAFETY: the pointer inside is to a `Sync` closure that outlives the job (see `run`).
unsafe impl Send for Shared {}

/// A buffer of rows.
pub struct RowsMut<'a, T> {
    pub data: &'a mut [T],
    pub width: usize,
}

/// Two buffers of rows of one width.
pub struct RowPairsMut<'a, T> {
    pub first: &'a mut [T],
    pub second: &'a mut [T],
    pub width: usize,
}

/// Threads that run one closure at a time, the caller being thread 0. Calls of several threads wait for each other,
/// unless the closure runs on its caller alone.
pub struct Pool {
    shared: Arc<Shared>,
    workers: Vec<(Thread, Option<JoinHandle<()>>)>,
    turns: Turns,
}

impl Pool {
    /// A pool of `threads` threads in all, at least one.
    pub fn new(threads: usize) -> Self {
        assert!(threads < 1 << THREAD_BITS, "a pool has at most {} threads", (1 << THREAD_BITS) - 1);
        let shared = Arc::new(Shared {
            call: Apart(Call { word: AtomicUsize::new(0), job: UnsafeCell::new(None), stop: AtomicBool::new(false) }),
            report: Apart(Report { busy: AtomicUsize::new(0), panicked: AtomicBool::new(false) }),
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
        Self { shared, workers, turns: Turns::default() }
    }

    /// Threads, the caller included.
    pub fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Runs `job(thread)` once on every thread and returns when all are done.
    pub fn run(&self, job: &(dyn Fn(usize) + Sync)) {
        self.run_on(self.threads(), job);
    }

    /// Runs `job(thread)` once on each of the first `threads` threads; the others sleep on.
    fn run_on(&self, threads: usize, job: &(dyn Fn(usize) + Sync)) {
        let workers = &self.workers[..threads - 1];
        if workers.is_empty() {
            return job(0);
        }
        let turn = self.turns.take();
        let Shared { call: Apart(call), report: Apart(report) } = &*self.shared;
        // SAFETY: only the lifetime is erased; this function does not return before every worker is done.
        let erased: Job = unsafe { std::mem::transmute::<*const (dyn Fn(usize) + Sync + '_), Job>(job) };
        // SAFETY: no worker reads the cell while `busy` is zero, and no other call writes it before this turn ends.
        unsafe { *call.job.get() = Some(erased) };
        report.busy.store(workers.len(), Ordering::Relaxed);
        let calls = call.word.load(Ordering::Relaxed) >> THREAD_BITS;
        call.word.store(calls.wrapping_add(1) << THREAD_BITS | threads, Ordering::Release);
        for (thread, _) in workers {
            thread.unpark();
        }
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| job(0)));
        let mut turns = 0_u32;
        while report.busy.load(Ordering::Acquire) > 0 {
            turns += 1;
            spin(turns);
        }
        let worker_panicked = report.panicked.swap(false, Ordering::Relaxed);
        drop(turn);
        if let Err(panic) = outcome {
            std::panic::resume_unwind(panic);
        }
        assert!(!worker_panicked, "a kernel thread panicked");
    }

    /// Splits `0 .. items` evenly over the threads and runs `job(share)` on each, of no more threads than there are
    /// items; small jobs (`items` below `least`) run on the caller alone.
    pub fn split(&self, items: usize, least: usize, job: impl Fn(Range<usize>) + Sync) {
        if items == 0 {
            return;
        }
        if items < least.max(2) {
            return job(0..items);
        }
        let threads = self.threads().min(items);
        self.run_on(threads, &|thread| job(items * thread / threads..items * (thread + 1) / threads));
    }

    /// Splits the rows of a buffer as [`Self::split`] splits items: each thread gets its rows as a slice of its own.
    pub fn split_rows<T: Send>(
        &self,
        RowsMut { data, width }: RowsMut<'_, T>,
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

    /// Splits two buffers of the same shape as [`Self::split_rows`] splits one.
    pub fn split_row_pairs<T: Send>(
        &self,
        RowPairsMut { first, second, width }: RowPairsMut<'_, T>,
        rows: usize,
        least: usize,
        job: impl Fn(Range<usize>, &mut [T], &mut [T]) + Sync,
    ) {
        let second = SharedMut::new(&mut second[..rows * width]);
        self.split_rows(RowsMut { data: first, width }, rows, least, |share, first| {
            // SAFETY: shares are disjoint ranges of rows, so the slices of the second buffer do not overlap either.
            let second = unsafe { second.slice(share.start * width..share.end * width) };
            job(share, first, second);
        });
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.call.0.stop.store(true, Ordering::Release);
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
    work_in_turns_of_others();
    let Shared { call: Apart(call), report: Apart(report) } = shared;
    let mut seen = 0;
    loop {
        let mut turns = 0;
        let word = loop {
            let word = call.word.load(Ordering::Acquire);
            if word != seen {
                break word;
            }
            if call.stop.load(Ordering::Acquire) {
                return;
            }
            turns += 1;
            if turns < SPIN_TURNS { spin(turns) } else { std::thread::park() }
        };
        seen = word;
        // Jobs for fewer threads do not wait for this one, which may see any of them or none.
        if index >= word & ((1 << THREAD_BITS) - 1) {
            continue;
        }
        // SAFETY: the word changed and counts this thread in, so the job was written before and stays until `busy` is
        // zero.
        let job = unsafe { (*call.job.get()).expect("a job is set before its call") };
        // SAFETY: `run_on` keeps the closure alive until every worker has decremented `busy`.
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| unsafe { (*job)(index) }));
        if outcome.is_err() {
            report.panicked.store(true, Ordering::Relaxed);
        }
        report.busy.fetch_sub(1, Ordering::Release);
    }
}

/// One turn of waiting.
pub(super) fn spin(turn: u32) {
    if turn.is_multiple_of(YIELD_TURNS) { std::thread::yield_now() } else { std::hint::spin_loop() }
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
            pool.split_rows(RowsMut { data: &mut data, width: 3 }, items, 1, |share, slice| {
                assert_eq!(slice.len(), share.len() * 3);
                slice.iter_mut().for_each(|value| *value += 1);
            });
            assert!(data.iter().all(|&value| value == 1));
        }
    }

    #[test]
    fn no_more_threads_take_part_than_there_are_items_and_none_is_lost_by_sitting_out() {
        let pool = Pool::new(4);
        let mut data = vec![0_usize; 9];
        for turn in 0..3000 {
            let items = 1 + turn % 9;
            let ran = AtomicUsize::new(0);
            pool.split_rows(RowsMut { data: &mut data, width: 1 }, items, 1, |share, data| {
                ran.fetch_add(1, Ordering::Relaxed);
                assert!(!share.is_empty() && share.len() == data.len());
                data.iter_mut().for_each(|count| *count += 1);
            });
            assert_eq!(ran.into_inner(), items.min(4));
        }
        let expected: Vec<usize> = (0..9).map(|item| (0..3000).filter(|turn| turn % 9 >= item).count()).collect();
        assert_eq!(data, expected);
    }

    #[test]
    fn calls_of_several_threads_run_one_after_the_other_and_all_of_them() {
        let pool = Pool::new(2);
        let (inside, ran) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    for _ in 0..300 {
                        let before = ran.load(Ordering::SeqCst);
                        pool.run(&|_| {
                            assert!(inside.fetch_add(1, Ordering::SeqCst) < 2, "two jobs run at once");
                            ran.fetch_add(1, Ordering::SeqCst);
                            inside.fetch_sub(1, Ordering::SeqCst);
                        });
                        assert!(ran.load(Ordering::SeqCst) >= before + 2);
                    }
                });
            }
        });
        assert_eq!(ran.into_inner(), 3 * 300 * 2);
    }

    #[test]
    fn a_job_within_a_job_is_refused_on_every_thread() {
        let pool = Pool::new(2);
        for inner in 0..2 {
            let nested = |thread| {
                if thread == inner {
                    pool.run(&|_| ());
                }
            };
            assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| pool.run(&nested))).is_err());
        }
        pool.run(&|_| ());
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
