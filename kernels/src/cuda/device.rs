//! The interface between the CUDA backend and a device: memory, copies, launches, products of many rows, replays.
//!
//! Implemented by the driver and by the shim, on which every kernel runs without a GPU. Knows no op. Addresses are
//! plain numbers; only `memory` and `queue` hand them to a device.
#![allow(unsafe_code)]

use std::time::Duration;

use bytemuck::NoUninit;

use crate::backend::Result;

/// The address that stands for no memory.
pub(super) const NO_ADDRESS: u64 = 0;

/// A device and a stream of work: everything asked of one handle happens in the order in which it was asked.
pub trait Device: Clone + Send + Sync + 'static {
    /// Captured work, to be replayed.
    type Graph: Send;
    /// Bytes on their way to the host.
    type Fetch: Send;

    /// Name, for people.
    fn describe(&self) -> String;
    /// Another handle of the device, with a stream of its own. Clones share a stream.
    ///
    /// # Errors
    /// When the device has no more of them.
    fn fork(&self) -> Result<Self>;
    /// Makes later work of this handle wait for the earlier work of the other one.
    fn follow(&self, other: &Self);
    /// Zeroed memory; its address is a multiple of 256.
    ///
    /// # Errors
    /// When the device has too little left.
    fn allocate(&self, bytes: usize, purpose: &'static str) -> Result<u64>;
    /// Frees memory of [`Self::allocate`] after all earlier work of any handle.
    ///
    /// # Safety
    /// The address comes from [`Self::allocate`] and is freed once.
    unsafe fn free(&self, address: u64);
    /// Copies from the host; `bytes` may change once this returns.
    ///
    /// # Safety
    /// The memory at the address is at least as long.
    unsafe fn write(&self, bytes: &[u8], address: u64);
    /// Copies to the host after all earlier work.
    ///
    /// # Safety
    /// The memory at the address is at least as long.
    unsafe fn read(&self, address: u64, bytes: &mut [u8]);
    /// Copies on the device.
    ///
    /// # Safety
    /// Both memories are at least as long and do not overlap.
    unsafe fn copy(&self, from: u64, to: u64, bytes: usize);
    /// Begins a copy to the host, which goes on beside later work.
    ///
    /// # Safety
    /// The memory at the address is at least as long and is not freed before the copy is finished.
    unsafe fn fetch(&self, address: u64, bytes: usize) -> Self::Fetch;
    /// Waits for the bytes of a fetch, but not for work that was asked for after it.
    fn finish(&self, fetch: Self::Fetch) -> Vec<u8>;
    /// Waits until everything asked of this handle is done.
    fn wait(&self);
    /// Performs one work.
    ///
    /// # Safety
    /// Every address in it leads to memory as long as the kernel or the product takes it to be.
    unsafe fn run(&self, work: &Work);
    /// Performs all works. Returns the time that each took, from the end of the one before to its own end.
    ///
    /// # Safety
    /// As [`Self::run`].
    unsafe fn run_timed(&self, works: &[Work]) -> Vec<Duration>;
    /// Index of the work that takes the least time when nothing it reads is in a cache. All of them write the same, and
    /// the device may perform them to find out.
    ///
    /// # Safety
    /// As [`Self::run`].
    unsafe fn fastest(&self, works: &[Work]) -> usize;
    /// Captures works that were performed before, to be replayed as a whole.
    ///
    /// # Safety
    /// As [`Self::run`].
    unsafe fn capture(&self, works: &[Work]) -> Self::Graph;
    /// Performs captured work.
    ///
    /// # Safety
    /// As [`Self::run`], for each captured work at the time of this call.
    unsafe fn replay(&self, graph: &Self::Graph);
}

/// Something a device performs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// A kernel of `kernels/cu`.
    Launch(Launch),
    /// A product with many rows. A row's result does not depend on their number.
    Product(LargeProduct),
}

impl Work {
    /// The kernel's name, or the library's.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Launch(launch) => launch.kernel,
            Self::Product(_) => "cuBLASLt",
        }
    }
}

/// One launch of a kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Launch {
    /// Name of the kernel.
    pub kernel: &'static str,
    /// Blocks that run it.
    pub blocks: Blocks,
    /// Its parameters.
    pub params: Params,
    /// The kernel may begin before the previous work of the same step has ended; it waits itself where it must.
    pub overlaps: bool,
}

/// The blocks of one launch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blocks {
    /// Number of blocks along x, y and z.
    pub grid: [u32; 3],
    /// Threads of a block; the number that the kernel is compiled for.
    pub threads: u32,
    /// Bytes of shared memory of a block.
    pub shared_bytes: usize,
}

impl Blocks {
    /// One block for each of `rows` rows, without shared memory.
    pub(super) const fn per_row(rows: usize, threads: u32) -> Self {
        Self { grid: [rows as u32, 1, 1], threads, shared_bytes: 0 }
    }

    /// Puts `columns` blocks side by side for each row.
    pub(super) const fn times(mut self, columns: usize) -> Self {
        self.grid[1] = columns as u32;
        self
    }

    /// With shared memory.
    pub(super) const fn with_shared(self, shared_bytes: usize) -> Self {
        Self { shared_bytes, ..self }
    }
}

/// A kernel's parameters: one struct, laid out alike in Rust and in C++.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Params {
    words: [u64; Self::WORDS],
    bytes: usize,
}

impl Params {
    const WORDS: usize = 17;

    /// Copies a struct of plain numbers.
    pub(super) fn of<P: NoUninit>(params: &P) -> Self {
        const { assert!(size_of::<P>() <= 8 * Self::WORDS && align_of::<P>() <= 8) }
        let mut words = [0; Self::WORDS];
        bytemuck::cast_slice_mut(&mut words)[..size_of::<P>()].copy_from_slice(bytemuck::bytes_of(params));
        Self { words, bytes: size_of::<P>() }
    }

    /// Address of the struct on the host.
    pub const fn address(&self) -> *const std::ffi::c_void {
        self.words.as_ptr().cast()
    }

    /// Length of the struct in bytes.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }
}

/// `out[m, n] = x[m, :] . matrix[n, :]` in bfloat16 with float32 sums. Addresses are the device's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LargeProduct {
    /// `[rows, depth]` of bfloat16, `x_pitch` numbers apart.
    pub x: u64,
    /// `[outputs, depth]` of bfloat16, `matrix_pitch` numbers apart.
    pub matrix: u64,
    /// `[rows, outputs]`, `out_pitch` numbers apart.
    pub out: u64,
    /// Rows of `x`.
    pub rows: usize,
    /// Rows of the matrix.
    pub outputs: usize,
    /// Numbers along the sum.
    pub depth: usize,
    /// Distance of rows of `x`.
    pub x_pitch: usize,
    /// Distance of rows of the matrix.
    pub matrix_pitch: usize,
    /// Distance of rows of `out`.
    pub out_pitch: usize,
    /// `out` is float32; else bfloat16.
    pub wide: bool,
}
