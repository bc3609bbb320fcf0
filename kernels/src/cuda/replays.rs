//! Steps that were seen before, replayed as a whole when the same step comes again.
//!
//! Owned by a queue. Two steps are the same when all their works are, parameters included.
#![allow(unsafe_code)]

use super::device::{Device, Work};

/// Steps that are remembered at most; the least recently used one is evicted.
const MOST_STEPS: usize = 512;

/// Steps of one queue, the least recently used first.
pub(super) struct Replays<D: Device> {
    steps: Vec<Step<D>>,
}

struct Step<D: Device> {
    works: Vec<Work>,
    /// Captured when the step comes for the second time: the first run loads kernels and chooses algorithms, which
    /// cannot be captured.
    graph: Option<D::Graph>,
}

impl<D: Device> Replays<D> {
    pub(super) const fn new() -> Self {
        Self { steps: Vec::new() }
    }

    /// Performs the works of a step: one by one the first time, captured and replayed from the second time on.
    ///
    /// # Safety
    /// Each work meets the conditions of [`Device::run`] until the call returns.
    pub(super) unsafe fn perform(&mut self, device: &D, works: Vec<Work>) {
        let step = match self.steps.iter().rposition(|step| step.works == works) {
            Some(found) => {
                let mut step = self.steps.remove(found);
                if step.graph.is_none() {
                    // SAFETY: the step's works equal `works`, for which the caller answers.
                    step.graph = Some(unsafe { device.capture(&step.works) });
                }
                step
            }
            None => Step { works, graph: None },
        };
        match &step.graph {
            // SAFETY: the graph was captured from works that equal `works`, for which the caller answers now.
            Some(graph) => unsafe { device.replay(graph) },
            None => {
                for work in &step.works {
                    // SAFETY: the step was made of `works` just now, for which the caller answers.
                    unsafe { device.run(work) }
                }
            }
        }
        if self.steps.len() == MOST_STEPS {
            self.steps.remove(0);
        }
        self.steps.push(step);
    }

    /// Steps that are replayed.
    pub(super) fn graphs(&self) -> usize {
        self.steps.iter().filter(|step| step.graph.is_some()).count()
    }
}
