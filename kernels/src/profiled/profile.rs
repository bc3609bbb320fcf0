//! What was measured: calls, time and bytes of each op.
//!
//! Written by [`super::Profiled`], read by whoever prints it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::locked;
use crate::backend::KernelCost;

/// What was measured since it was last taken. Clones read the same.
#[derive(Debug, Clone, Default)]
pub struct Profile(Arc<Mutex<Measured>>);

#[derive(Debug, Default)]
struct Measured {
    costs: BTreeMap<Op, Cost>,
    by_device: bool,
}

/// What costs are added up by: a method of [`Backend`], of products the matrix's shape, and the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Op {
    /// The method.
    pub name: &'static str,
    /// `(input features, output features)` of a product.
    pub matrix: Option<(usize, usize)>,
    /// Where the device says what each kernel took.
    pub kernel: Option<&'static str>,
}

impl Op {
    /// A method's, without matrix and kernel.
    pub const fn of(name: &'static str) -> Self {
        Self { name, matrix: None, kernel: None }
    }
}

/// What an op took, or one kernel of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cost {
    /// Calls.
    pub calls: u64,
    /// Time of all calls.
    pub time: Duration,
    /// Bytes that had to be read or written at least: weights, pages, activations, each once a call.
    pub bytes: u64,
}

impl Profile {
    /// What was measured, and begins anew.
    pub fn take(&self) -> BTreeMap<Op, Cost> {
        std::mem::take(&mut locked(&self.0).costs)
    }

    /// Whether steps were timed by the device, from the end of one kernel to the end of the next: then their times add up to
    /// the step's, and what the host took to ask and to measure is in none of them.
    pub fn is_by_device(&self) -> bool {
        locked(&self.0).by_device
    }

    /// From now on steps are timed by the device.
    pub(super) fn set_by_device(&self) {
        locked(&self.0).by_device = true;
    }

    /// Each kernel of an op by itself; `bytes` are the op's, for those that do not say how many of them are theirs.
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
