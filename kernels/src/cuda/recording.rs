//! A step that is being recorded: the work asked for so far, with its bytes and marks.
//!
//! Owned by a queue from the beginning of a step to its end.

use std::time::Duration;

use super::device::Work;
use crate::backend::KernelCost;

/// The work of one step.
#[derive(Default)]
pub(super) struct Recording {
    works: Vec<Work>,
    /// Index of a work and the bytes it must move, for those that said so.
    moved: Vec<(usize, u64)>,
    /// Number of works at each mark.
    marks: Vec<usize>,
    checked: Vec<CheckedLists>,
}

/// Addresses of lists, and of the pages that they index. Within a step an address stands for its contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CheckedLists {
    pub spans: u64,
    pub tables: u64,
    pub pages: u64,
}

impl Recording {
    /// Adds work.
    pub(super) fn push(&mut self, work: Work) {
        self.works.push(work);
    }

    /// A recording without work.
    pub(super) const fn is_empty(&self) -> bool {
        self.works.is_empty()
    }

    /// Notes the bytes that the latest work must move.
    pub(super) fn note_bytes(&mut self, bytes: usize) {
        if let Some(latest) = self.works.len().checked_sub(1) {
            self.moved.push((latest, bytes as u64));
        }
    }

    /// Ends a group of works whose costs are reported together.
    pub(super) fn mark(&mut self) {
        self.marks.push(self.works.len());
    }

    /// Runs `check` unless the same lists passed it in this step: every layer reads the same ones.
    pub(super) fn check_once(&mut self, lists: CheckedLists, check: impl FnOnce()) {
        if !self.checked.contains(&lists) {
            check();
            self.checked.push(lists);
        }
    }

    /// All works, in order.
    pub(super) fn works(&self) -> &[Work] {
        &self.works
    }

    /// Takes all works, in order.
    pub(super) fn into_works(self) -> Vec<Work> {
        self.works
    }

    /// Costs of the works up to each mark; `times` has one entry for each work.
    pub(super) fn costs(&self, times: &[Duration]) -> Vec<Vec<KernelCost>> {
        let bytes = |at: usize| self.moved.iter().rfind(|(work, _)| *work == at).map(|(_, bytes)| *bytes);
        let cost = |at: usize| KernelCost { kernel: self.works[at].name(), time: times[at], bytes: bytes(at) };
        let mut first = 0;
        let between = |&end: &usize| (std::mem::replace(&mut first, end)..end).map(cost).collect();
        self.marks.iter().map(between).collect()
    }
}
