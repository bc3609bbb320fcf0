//! A device that is the processor: kernels compiled by g++ with the shim of `kernels/cu/shim`, run thread by thread.
//!
//! Made by tests, so that every kernel runs where there is no GPU. Slow.

#![allow(unsafe_code)]

use std::ffi::{CString, c_char, c_int, c_void};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::device::{Blocks, Device, LargeProduct, Launch, Work};
use crate::backend::{Error, Result};
use crate::math::{bf16_bits, bf16_value};

/// Difference of the seeds of two launches: odd, so that they repeat late.
const SCHEDULE_STEP: u64 = 0x9E37_79B9_7F4A_7C15;

/// The processor in a GPU's place.
#[derive(Debug, Clone)]
pub struct Shim {
    /// Seed of the order in which threads run; each launch takes another one.
    schedule: Arc<AtomicU64>,
}

// SAFETY: these are the functions of shim.cc, with its types.
unsafe extern "C" {
    fn shim_launch(
        name: *const c_char,
        grid: *const u32,
        threads: u32,
        shared_bytes: usize,
        params: *const c_void,
        params_bytes: usize,
        seed: u64,
    ) -> c_int;
    fn shim_allocate(bytes: usize) -> *mut c_void;
    fn shim_free(memory: *mut c_void);
}

impl Shim {
    /// A device that draws the order of its threads from `schedule`.
    pub fn new(schedule: u64) -> Self {
        Self { schedule: Arc::new(AtomicU64::new(schedule)) }
    }

    /// # Safety
    /// As [`Device::run`].
    unsafe fn launch(&self, launch: &Launch) {
        let name = CString::new(launch.kernel).expect("names of kernels have no zeros");
        let seed = self.schedule.fetch_add(SCHEDULE_STEP, Ordering::Relaxed);
        let Launch { blocks: Blocks { grid, threads, shared_bytes }, params, .. } = launch;
        let (at, bytes) = (params.address(), params.bytes());
        // SAFETY: the parameters are a struct of that size (which the shim compares); the caller answers for the
        // addresses in it.
        let outcome = unsafe { shim_launch(name.as_ptr(), grid.as_ptr(), *threads, *shared_bytes, at, bytes, seed) };
        assert_eq!(outcome, 0, "{launch:?} does not fit the kernel (1: no such kernel, 2: parameters, 3: threads)");
    }
}

impl Device for Shim {
    type Graph = Vec<Work>;
    type Fetch = Vec<u8>;

    fn describe(&self) -> String {
        "cuda kernels on the processor".into()
    }

    fn fork(&self) -> Result<Self> {
        Ok(self.clone())
    }

    fn follow(&self, _: &Self) {}

    fn allocate(&self, bytes: usize, purpose: &'static str) -> Result<u64> {
        // SAFETY: any size may be asked for.
        let memory = unsafe { shim_allocate(bytes) };
        if memory.is_null() { Err(Error::OutOfMemory { bytes, purpose }) } else { Ok(memory as u64) }
    }

    unsafe fn free(&self, address: u64) {
        // SAFETY: the address comes from `allocate`, once.
        unsafe { shim_free(address as *mut c_void) }
    }

    unsafe fn write(&self, bytes: &[u8], address: u64) {
        // SAFETY: the caller says that the memory is as long; launches are over when they return.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), address as *mut u8, bytes.len()) }
    }

    unsafe fn read(&self, address: u64, bytes: &mut [u8]) {
        // SAFETY: the caller says that the memory is as long; launches have ended when they return.
        unsafe { std::ptr::copy_nonoverlapping(address as *const u8, bytes.as_mut_ptr(), bytes.len()) }
    }

    unsafe fn copy(&self, from: u64, to: u64, bytes: usize) {
        // SAFETY: the caller says that both memories are as long and do not overlap; launches have ended when they
        // return.
        unsafe { std::ptr::copy_nonoverlapping(from as *const u8, to as *mut u8, bytes) }
    }

    unsafe fn fetch(&self, address: u64, bytes: usize) -> Vec<u8> {
        let mut fetched = vec![0; bytes];
        // SAFETY: the caller says that the memory is as long.
        unsafe { self.read(address, &mut fetched) };
        fetched
    }

    fn finish(&self, fetch: Vec<u8>) -> Vec<u8> {
        fetch
    }

    fn wait(&self) {}

    unsafe fn run(&self, work: &Work) {
        match work {
            // SAFETY: the caller answers for every address in the launch.
            Work::Launch(launch) => unsafe { self.launch(launch) },
            // SAFETY: the caller answers for every address in the product.
            Work::Product(product) => unsafe { multiply(product) },
        }
    }

    unsafe fn run_timed(&self, works: &[Work]) -> Vec<Duration> {
        let timed = |work| {
            let began = Instant::now();
            // SAFETY: the caller answers for every address in the works.
            unsafe { self.run(work) }
            began.elapsed()
        };
        works.iter().map(timed).collect()
    }

    /// Draws an index from the schedule: times here say nothing of a GPU, and so every kernel comes to be used.
    unsafe fn fastest(&self, works: &[Work]) -> usize {
        let drawn = self.schedule.fetch_add(SCHEDULE_STEP, Ordering::Relaxed);
        (drawn >> 32) as usize % works.len()
    }

    unsafe fn capture(&self, works: &[Work]) -> Vec<Work> {
        works.to_vec()
    }

    unsafe fn replay(&self, graph: &Vec<Work>) {
        for work in graph {
            // SAFETY: the caller answers for every address in the captured works, now.
            unsafe { self.run(work) }
        }
    }
}

/// Multiplies as cuBLASLt does.
///
/// # Safety
/// As [`Device::run`].
unsafe fn multiply(product: &LargeProduct) {
    let LargeProduct { rows, outputs, depth, x_pitch, matrix_pitch, out_pitch, .. } = *product;
    let number = |address: u64, index: usize| {
        // SAFETY: rows and matrix are as large as the product says.
        bf16_value(unsafe { *(address as *const u16).add(index) })
    };
    for row in 0..rows {
        for output in 0..outputs {
            let pairs = (0..depth).map(|k| (row * x_pitch + k, output * matrix_pitch + k));
            let sum: f32 = pairs.map(|(x, w)| number(product.x, x) * number(product.matrix, w)).sum();
            let index = row * out_pitch + output;
            // SAFETY: the result is as large as the product says.
            unsafe {
                if product.wide {
                    *(product.out as *mut f32).add(index) = sum;
                } else {
                    *(product.out as *mut u16).add(index) = bf16_bits(sum);
                }
            }
        }
    }
}
