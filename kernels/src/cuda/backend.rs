//! The CUDA backend: a device, its streams of work, and what ops share.
//!
//! Made by `server` and by tests. The ops are in the other files of `cuda`, one noun each.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use super::device::Device;
use super::memory::{Heap, Memory};
use super::number::Number;
use super::product_kernels::FastestKernels;
use super::queue::Queue;
use crate::backend::{Error, KvFormat, Precision, Result};
use crate::quantize::Scheme;

/// Checks that the kernels compute with numbers of these kinds.
///
/// # Errors
/// [`Error::Unavailable`] names the first kind that they do not compute with.
pub fn computes(precision: Precision, weights: Option<Scheme>, pages: KvFormat) -> Result<()> {
    let wanted = match (precision, weights, pages) {
        (Precision::F32, ..) => "float32".to_owned(),
        (_, Some(Scheme::Int4), _) => "Int4 weights".to_owned(),
        (.., KvFormat::F32 | KvFormat::Int8) => format!("{pages:?} pages"),
        (Precision::Bf16, None | Some(Scheme::Int8), KvFormat::Bf16) => return Ok(()),
    };
    Err(Error::Unavailable { wanted: format!("{wanted} on a GPU"), available: "Bf16, and Int8 weights".into() })
}

/// Ops on a device.
pub struct Cuda<D: Device> {
    pub(super) heap: Heap<D>,
    pub(super) main: Queue<D>,
    /// For ops that run beside those of `main`.
    pub(super) side: Queue<D>,
    /// Ops go to `side`.
    is_aside: AtomicBool,
    /// Working memory that `score` reads back.
    pub(super) answers: Mutex<Memory<D>>,
    pub(super) fastest: FastestKernels,
    /// Products of many rows use the kernels of few rows, not the device's library, which may add up in another order.
    pub(super) deterministic: bool,
}

impl<D: Device> Cuda<D> {
    /// A backend on a device. That a row's result depends on that row alone holds among calls of up to 64 rows, among
    /// calls of up to 256, and among larger ones: the device's library adds up in another order for each.
    ///
    /// # Errors
    /// When the device has no memory left.
    pub fn new(device: D) -> Result<Self> {
        let heap = Heap::new(device.clone());
        let side = Queue::new(device.fork()?, heap.clone())?;
        let main = Queue::new(device, heap.clone())?;
        let answers = Mutex::new(Memory::new(&heap, 1 << 16, "answers")?);
        let (is_aside, fastest) = (AtomicBool::new(false), FastestKernels::default());
        Ok(Self { heap, main, side, is_aside, answers, fastest, deterministic: false })
    }

    /// Makes a row's result independent of the number of rows, for any two numbers.
    #[must_use]
    pub fn deterministic(self) -> Self {
        Self { deterministic: true, ..self }
    }

    /// Lets a kernel of a step begin before the one before it has ended, with what does not depend on it.
    #[must_use]
    pub fn overlapping(self) -> Self {
        Self { main: self.main.overlapping(), ..self }
    }

    /// Steps that are replayed instead of launched op by op.
    pub fn graphs(&self) -> usize {
        self.main.graphs()
    }

    /// The queue that ops go to now.
    pub(super) fn queue(&self) -> &Queue<D> {
        if self.is_aside.load(Ordering::Relaxed) { &self.side } else { &self.main }
    }

    /// Sends ops to `side` until the guard is dropped.
    pub(super) fn turn_aside(&self) -> Aside<'_> {
        Aside { flag: &self.is_aside, before: self.is_aside.swap(true, Ordering::Relaxed) }
    }

    /// A table of float32 that `fill(row, values)` writes row by row; rows are a multiple of 8 numbers apart.
    pub(super) fn float32(
        &self,
        rows: usize,
        width: usize,
        fill: impl Fn(usize, &mut [f32]),
        purpose: &'static str,
    ) -> Result<Memory<D>> {
        let row_bytes = width.next_multiple_of(8) * Number::F32.bytes();
        let mut bytes = vec![0; rows * row_bytes];
        let mut values = vec![0.0; width];
        for (row, out) in bytes.chunks_exact_mut(row_bytes).enumerate() {
            fill(row, &mut values);
            Number::F32.write(&values, out);
        }
        let memory = Memory::new(&self.heap, bytes.len(), purpose)?;
        self.queue().write(&bytes, &memory, 0);
        Ok(memory)
    }
}

/// While it lives ops go to the side queue. Dropping it, by a panic as well, sends them where they went before.
pub(super) struct Aside<'a> {
    flag: &'a AtomicBool,
    before: bool,
}

impl Drop for Aside<'_> {
    fn drop(&mut self) {
        self.flag.store(self.before, Ordering::Relaxed);
    }
}
