//! What the CUDA backend asks of a device: memory, copies, launches, products of many rows, and all of it once more.
//!
//! Implemented by the driver and, so that every kernel runs where there is no GPU, by the shim. Knows no op. Addresses are
//! numbers here: `memory` and `queue` are the only places that hand them on.
#![allow(unsafe_code)]

use std::time::Duration;

use bytemuck::NoUninit;

use crate::backend::Result;

/// The address that stands for no memory.
pub(super) const NO_ADDRESS: u64 = 0;

/// A device and a stream of work: everything asked of one handle happens in the order in which it was asked.
pub trait Device: Clone + Send + Sync + 'static {
    /// Work that is replayed.
    type Graph: Send;
    /// Bytes on their way to the host.
    type Fetch: Send;

    /// Name, for people.
    fn describe(&self) -> String;
    /// The same device with a stream of its own; clones share one.
    ///
    /// # Errors
    /// When the device has no more of them.
    fn fork(&self) -> Result<Self>;
    /// What is asked of this handle from now on waits for what was asked of the other one so far.
    fn follow(&self, other: &Self);
    /// Zeroed memory, at a multiple of 256 bytes.
    ///
    /// # Errors
    /// When there is not enough.
    fn allocate(&self, bytes: usize, purpose: &'static str) -> Result<u64>;
    /// Gives back what [`Self::allocate`] gave, once all work that was asked for, of any handle, is done.
    ///
    /// # Safety
    /// The address comes from there, and is given back once.
    unsafe fn free(&self, address: u64);
    /// Copies from the host; `bytes` may change once this returns.
    ///
    /// # Safety
    /// The memory at the address is at least as long.
    unsafe fn write(&self, bytes: &[u8], address: u64);
    /// Copies to the host once all earlier work is done.
    ///
    /// # Safety
    /// The memory at the address is at least as long.
    unsafe fn read(&self, address: u64, bytes: &mut [u8]);
    /// Copies on the device.
    ///
    /// # Safety
    /// The memory at both addresses is at least as long, and does not overlap.
    unsafe fn copy(&self, from: u64, to: u64, bytes: usize);
    /// Copies to the host while other work goes on.
    ///
    /// # Safety
    /// The memory at the address is at least as long, and stays.
    unsafe fn fetch(&self, address: u64, bytes: usize) -> Self::Fetch;
    /// Waits for the bytes of a fetch, and for nothing that was asked after it.
    fn finish(&self, fetch: Self::Fetch) -> Vec<u8>;
    /// Waits until everything asked of this handle is done.
    fn wait(&self);
    /// Does one thing.
    ///
    /// # Safety
    /// Every address in it leads to memory as long as the kernel or the product takes it to be.
    unsafe fn run(&self, work: &Work);
    /// Does all of it, and says how long the device took for each, from the end of the one before.
    ///
    /// # Safety
    /// As [`Self::run`].
    unsafe fn run_timed(&self, works: &[Work]) -> Vec<Duration>;
    /// Which of the works, all of which do the same, takes the least time when what they read is not in a cache. To
    /// know it a device may do them.
    ///
    /// # Safety
    /// As [`Self::run`].
    unsafe fn fastest(&self, works: &[Work]) -> usize;
    /// Work that was done before, to be replayed as a whole: once captured, nothing of it is looked at again.
    ///
    /// # Safety
    /// As [`Self::run`].
    unsafe fn capture(&self, works: &[Work]) -> Self::Graph;
    /// Does it.
    ///
    /// # Safety
    /// As [`Self::run`], at the time of this call.
    unsafe fn replay(&self, graph: &Self::Graph);
}

/// One thing to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// A kernel of `kernels/cu`.
    Launch(Launch),
    /// A product with many rows, each of which has the same result whatever their number.
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

    /// As many blocks side by side for each row.
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

    /// Parameters of a kernel that takes a struct of plain numbers.
    pub(super) fn of<P: NoUninit>(params: &P) -> Self {
        const { assert!(size_of::<P>() <= 8 * Self::WORDS && align_of::<P>() <= 8) }
        let mut words = [0; Self::WORDS];
        bytemuck::cast_slice_mut(&mut words)[..size_of::<P>()].copy_from_slice(bytemuck::bytes_of(params));
        Self { words, bytes: size_of::<P>() }
    }

    /// Where they are.
    pub const fn address(&self) -> *const std::ffi::c_void {
        self.words.as_ptr().cast()
    }

    /// How long they are.
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
