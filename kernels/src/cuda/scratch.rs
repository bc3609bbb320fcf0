//! Working memory of ops, shared by all ops of a queue: work is done in order, so the next op may reuse it.
//!
//! Owned by a queue.

use super::device::Device;
use super::memory::{Heap, Memory};
use crate::backend::Result;

/// Working memory of one queue. Each part grows to the largest op.
pub(super) struct Scratch<D: Device> {
    partials: Memory<D>,
    finished: Memory<D>,
    widened: Memory<D>,
    ruled: Memory<D>,
}

impl<D: Device> Scratch<D> {
    pub(super) fn new(heap: &Heap<D>) -> Result<Self> {
        Ok(Self {
            partials: Memory::new(heap, 1 << 20, "partial results")?,
            finished: Memory::new(heap, 1 << 12, "counts of finished parts")?,
            widened: Memory::new(heap, 0, "a widened matrix")?,
            ruled: Memory::new(heap, 0, "logits under rules")?,
        })
    }

    /// Address of at least `bytes` for partial results of one op: of parts of attention, of parts of a row of logits.
    pub(super) fn partials(&mut self, bytes: usize) -> u64 {
        self.partials.grow(bytes, "partial results");
        self.partials.address()
    }

    /// Address of at least `count` counters, all zero, for an op that leaves them zero.
    pub(super) fn finished(&mut self, count: usize) -> u64 {
        self.finished.grow(4 * count, "counts of finished parts");
        self.finished.address()
    }

    /// Address of at least `bytes` for a matrix widened to bfloat16, which the next op multiplies with.
    pub(super) fn widened(&mut self, bytes: usize) -> u64 {
        self.widened.grow(bytes, "a widened matrix");
        self.widened.address()
    }

    /// Address of at least `bytes` for copies of rows of logits under rules, which the next op draws from.
    pub(super) fn ruled(&mut self, bytes: usize) -> u64 {
        self.ruled.grow(bytes, "logits under rules");
        self.ruled.address()
    }
}
