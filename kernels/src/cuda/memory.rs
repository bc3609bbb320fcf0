//! Memory of a device that is freed when it is dropped.
//!
//! Used by everything in `cuda` that keeps numbers on the device.
#![allow(unsafe_code)]

use std::sync::{Arc, Mutex};

use super::device::Device;
use super::lock::locked;
use crate::backend::Result;

/// The allocator of a device. Clones share it.
#[derive(Clone)]
pub(super) struct Heap<D: Device>(Arc<Shared<D>>);

struct Shared<D> {
    device: D,
    /// Addresses dropped since [`Heap::keep`]; `None` while memory is freed at once.
    kept: Mutex<Option<Vec<u64>>>,
}

/// Memory of a device, freed when it is dropped.
pub(super) struct Memory<D: Device> {
    heap: Heap<D>,
    address: u64,
    bytes: usize,
}

impl<D: Device> Heap<D> {
    pub(super) fn new(device: D) -> Self {
        Self(Arc::new(Shared { device, kept: Mutex::new(None) }))
    }

    /// Keeps memory that is dropped from now on, until [`Self::release`]: recorded work may still use it.
    pub(super) fn keep(&self) {
        locked(&self.0.kept).get_or_insert_default();
    }

    /// Frees what was kept.
    pub(super) fn release(&self) {
        let kept = locked(&self.0.kept).take();
        kept.into_iter().flatten().for_each(|address| self.free(address));
    }

    fn free(&self, address: u64) {
        // SAFETY: the address comes from `allocate`; only `Memory::drop` hands it over, and a value is dropped once.
        unsafe { self.0.device.free(address) }
    }
}

impl<D: Device> Memory<D> {
    /// Zeroed memory.
    ///
    /// # Errors
    /// When the device has too little left.
    pub(super) fn new(heap: &Heap<D>, bytes: usize, purpose: &'static str) -> Result<Self> {
        Ok(Self { heap: heap.clone(), address: heap.0.device.allocate(bytes, purpose)?, bytes })
    }

    /// Zeroed working memory of at least `bytes`, without which a step cannot go on: panics when the device has too
    /// little.
    pub(super) fn required(heap: &Heap<D>, bytes: usize, purpose: &'static str) -> Self {
        Self::new(heap, bytes.next_power_of_two(), purpose)
            .unwrap_or_else(|error| panic!("a step needs more working memory than the device has: {error}"))
    }

    /// Replaces memory shorter than `bytes` by zeroed memory that is as long. It at least doubles, so it soon stops
    /// growing.
    pub(super) fn grow(&mut self, bytes: usize, purpose: &'static str) {
        if self.bytes < bytes {
            *self = Self::required(&self.heap, bytes, purpose);
        }
    }

    /// Address of the first byte.
    pub(super) const fn address(&self) -> u64 {
        self.address
    }

    /// Length in bytes.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Address of byte `offset`, checked to have `len` bytes from there on.
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
