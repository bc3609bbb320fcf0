//! The gradient of a table that several operations share.
//!
//! Made by `network` for a pass, filled by fused operations. In a graph, each use of the table would have a gradient of
//! the table's size, and so would each sum of two of them.

use std::sync::{Arc, Mutex, MutexGuard};

/// Sum of the gradients of all uses of a table, in the order of the backward pass.
#[derive(Debug, Clone, Default)]
pub struct TableGradient {
    sum: Arc<Mutex<Option<Vec<f32>>>>,
}

impl TableGradient {
    /// Takes the sum; `None` if no operation has added to it.
    pub fn take(&self) -> Option<Vec<f32>> {
        self.lock().take()
    }

    /// Adds the gradient of a use of the whole table.
    pub(super) fn add(&self, gradient: Vec<f32>) {
        let mut sum = self.lock();
        match sum.as_mut() {
            Some(sum) => sum.iter_mut().zip(gradient).for_each(|(sum, own)| *sum += own),
            None => *sum = Some(gradient),
        }
    }

    /// Lets a use of some rows add to the sum, which has `len` numbers.
    pub(super) fn add_rows(&self, len: usize, add: impl FnOnce(&mut [f32])) {
        add(self.lock().get_or_insert_with(|| vec![0.0; len]));
    }

    fn lock(&self) -> MutexGuard<'_, Option<Vec<f32>>> {
        self.sum.lock().expect("no thread panics with the sum in hand")
    }
}
