//! Memory of a device that gives itself back.
//!
//! Used by everything in `cuda` that keeps numbers on the device.
#![allow(unsafe_code)]

use std::sync::{Arc, Mutex};

use super::device::Device;
use super::locked;
use crate::backend::Result;

/// Where memory comes from and goes back to. Clones are the same.
#[derive(Clone)]
pub(super) struct Heap<D: Device>(Arc<Shared<D>>);

struct Shared<D> {
    device: D,
    /// While work is only written down, what that work may use stays although nobody holds it any more.
    kept: Mutex<Option<Vec<u64>>>,
}

/// Memory of a device, given back when it is dropped.
pub(super) struct Memory<D: Device> {
    heap: Heap<D>,
    address: u64,
    bytes: usize,
}

impl<D: Device> Heap<D> {
    pub(super) fn new(device: D) -> Self {
        Self(Arc::new(Shared { device, kept: Mutex::new(None) }))
    }

    /// From now on nothing is given back, until [`Self::release`].
    pub(super) fn keep(&self) {
        locked(&self.0.kept).get_or_insert_default();
    }

    /// Gives back what was kept.
    pub(super) fn release(&self) {
        let kept = locked(&self.0.kept).take();
        kept.into_iter().flatten().for_each(|address| self.free(address));
    }

    fn free(&self, address: u64) {
        // SAFETY: `Memory` has its address from `allocate`, and comes here once, when it is dropped.
        unsafe { self.0.device.free(address) }
    }
}

impl<D: Device> Memory<D> {
    /// Zeroed memory.
    ///
    /// # Errors
    /// When there is not enough.
    pub(super) fn new(heap: &Heap<D>, bytes: usize, purpose: &'static str) -> Result<Self> {
        Ok(Self { heap: heap.clone(), address: heap.0.device.allocate(bytes, purpose)?, bytes })
    }

    /// Where it begins.
    pub(super) const fn address(&self) -> u64 {
        self.address
    }

    /// How long it is.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Where the byte `offset` is, of which `len` bytes are meant.
    pub(super) fn at(&self, offset: usize, len: usize) -> u64 {
        assert!(offset + len <= self.bytes, "{offset} + {len} bytes are wanted of {}", self.bytes);
        self.address + offset as u64
    }
}

impl<D: Device> Drop for Memory<D> {
    fn drop(&mut self) {
        let mut kept = locked(&self.heap.0.kept);
        if let Some(kept) = kept.as_mut() {
            kept.push(self.address);
        } else {
            drop(kept);
            self.heap.free(self.address);
        }
    }
}
