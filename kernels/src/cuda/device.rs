//! What the CUDA backend asks of a device: memory, copies, launches, products of many rows.
//!
//! Implemented by the driver and, so that every kernel runs where there is no GPU, by the shim. Knows no op.

use std::ffi::c_void;

use crate::backend::Result;

/// A device and its stream of work: everything asked of it happens in the order in which it was asked.
pub trait Device: Clone + Send + Sync + 'static {
    /// Name, for people.
    fn describe(&self) -> String;
    /// Zeroed memory, at a multiple of 256 bytes.
    ///
    /// # Errors
    /// When there is not enough.
    fn allocate(&self, bytes: usize, purpose: &'static str) -> Result<u64>;
    /// Gives back what [`Self::allocate`] gave.
    fn free(&self, address: u64);
    /// Copies from the host; `bytes` may change once this returns.
    fn write(&self, bytes: &[u8], address: u64);
    /// Copies to the host once all earlier work is done.
    fn read(&self, address: u64, bytes: &mut [u8]);
    /// Runs a kernel of `kernels/cu`.
    fn launch(&self, launch: &Launch);
    /// A product with many rows, each of which has the same result whatever their number.
    fn product(&self, product: &LargeProduct);
}

/// One launch of a kernel. Its parameters are one struct, laid out alike in Rust and in C++.
#[derive(Debug)]
pub struct Launch {
    /// Its name.
    pub kernel: &'static str,
    /// Blocks.
    pub grid: [u32; 3],
    /// Threads of a block, as the kernel is compiled for.
    pub threads: u32,
    /// Shared memory of a block.
    pub shared_bytes: usize,
    /// The struct, which outlives the launch.
    pub params: *const c_void,
    /// Its size.
    pub params_bytes: usize,
}

/// `out[m, n] = x[m, :] . matrix[n, :]` in bfloat16 with float32 sums. Addresses are the device's.
#[derive(Debug, Clone, Copy)]
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

/// Memory of a device, given back when it is dropped.
pub struct Memory<D: Device> {
    device: D,
    address: u64,
    bytes: usize,
}

impl<D: Device> Memory<D> {
    /// Zeroed memory.
    ///
    /// # Errors
    /// When there is not enough.
    pub fn new(device: &D, bytes: usize, purpose: &'static str) -> Result<Self> {
        Ok(Self { device: device.clone(), address: device.allocate(bytes, purpose)?, bytes })
    }

    /// Where it begins.
    pub const fn address(&self) -> u64 {
        self.address
    }

    /// How long it is.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Where the byte `offset` is, of which `len` bytes are meant.
    pub fn at(&self, offset: usize, len: usize) -> u64 {
        assert!(offset + len <= self.bytes, "{offset} + {len} bytes are wanted of {}", self.bytes);
        self.address + offset as u64
    }
}

impl<D: Device> Drop for Memory<D> {
    fn drop(&mut self) {
        self.device.free(self.address);
    }
}
