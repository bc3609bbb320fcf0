//! Measurements: calls, time and bytes of each op.
//!
//! Written by [`super::Profiled`], read by whoever prints it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::backend::KernelCost;

/// Measurements since they were last taken. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Profile(Arc<Mutex<Measured>>);

/// Locks what is whole whatever panicked while it was held.
pub(super) fn locked<T>(kept: &Mutex<T>) -> MutexGuard<'_, T> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Debug, Default)]
struct Measured {
    costs: BTreeMap<Op, Cost>,
    by_device: bool,
}

/// Key that costs are added up by: the method of [`crate::Backend`], the matrix's shape for products, and the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Op {
    /// The method.
    pub name: &'static str,
    /// `(input features, output features)` of a product.
    pub matrix: Option<(usize, usize)>,
    /// The kernel, where the device times each.
    pub kernel: Option<&'static str>,
}

impl Op {
    /// A method without matrix and kernel.
    pub const fn of(name: &'static str) -> Self {
        Self { name, matrix: None, kernel: None }
    }
}

/// Cost of an op, or of one of its kernels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cost {
    /// Calls.
    pub calls: u64,
    /// Time of all calls.
    pub time: Duration,
    /// Bytes that had to be read or written: weights, pages, activations, each once a call.
    pub bytes: u64,
}

impl Profile {
    /// Returns all measurements and begins anew.
    pub fn take(&self) -> BTreeMap<Op, Cost> {
        std::mem::take(&mut locked(&self.0).costs)
    }

    /// Whether steps were timed by the device, from the end of one kernel to the end of the next. Their times then
    /// add up to the step's and hold none of the host's time.
    pub fn is_by_device(&self) -> bool {
        locked(&self.0).by_device
    }

    /// From now on steps are timed by the device.
    pub(super) fn set_by_device(&self) {
        locked(&self.0).by_device = true;
    }

    /// Adds each kernel of an op by itself. `bytes` are the op's, for kernels that name none.
    pub(super) fn add_kernels(&self, op: Op, bytes: u64, kernels: &[KernelCost]) {
        for kernel in kernels {
            let cost = Cost { calls: 1, time: kernel.time, bytes: kernel.bytes.unwrap_or(bytes) };
            self.add(Op { kernel: Some(kernel.kernel), ..op }, cost);
        }
    }

    pub(super) fn add(&self, op: Op, own: Cost) {
        let mut measured = locked(&self.0);
        let cost = measured.costs.entry(op).or_default();
        *cost = *cost + own;
    }
}

impl std::ops::Add for Cost {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self { calls: self.calls + other.calls, time: self.time + other.time, bytes: self.bytes + other.bytes }
    }
}
