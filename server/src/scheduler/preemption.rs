//! Pages for the rows that were granted, and preemption when too few pages are left.
//!
//! Called wherever a plan is made, before admission. For a plan made ahead there are always enough pages. The oldest
//! running interactive sequence is never preempted, nor the oldest idle one where no interactive one runs or waits.

use kernels::PageCopy;

use super::queue::Waiting;
use super::running::Running;
use super::state::Scheduler;
use crate::request::Priority;

impl Scheduler {
    /// Takes the pages that granted rows of sequences of this priority need, oldest sequence first, and appends the
    /// copies of shared ones to `copies`. Preempts the youngest when pages run short, idle ones first.
    pub(super) fn grow_running(&mut self, priority: Priority, copies: &mut Vec<PageCopy>) {
        let priority_of = |running: &Running| running.sequence.request.priority;
        let mut index = self.running.partition_point(|running| priority_of(running) < priority);
        while self.running.get(index).is_some_and(|running| priority_of(running) == priority) {
            let missing = self.running[index].missing_pages(&self.memory.pool);
            if missing > self.memory.available() {
                self.free_pages();
                continue;
            }
            self.running[index].take_pages(&mut self.memory, copies);
            index += 1;
        }
    }

    /// Frees pages by the least harmful means left: preempts the youngest running sequence, then releases sources that
    /// only waiting sequences hold.
    fn free_pages(&mut self) {
        let only_interactive = !self.idle_runs();
        if only_interactive && self.release_idle_source() {
            return;
        }
        if self.running.len() > 1 {
            self.preempt_youngest();
            return;
        }
        self.release_waiting_source();
    }

    /// Sends the youngest running sequence back to the queue without its pages. It keeps its tokens and its source.
    pub(super) fn preempt_youngest(&mut self) {
        let Some(youngest) = self.running.pop() else { return };
        youngest.release_pages(&mut self.memory.pool);
        self.preemptions += 1;
        self.queue.put_back(Waiting { sequence: youngest.sequence, source: Some(youngest.source), preempted: true });
    }

    /// Releases the source of the youngest waiting idle sequence that holds one. Returns whether there was one.
    pub(super) fn release_idle_source(&mut self) -> bool {
        let source = self.queue.take_source(Priority::Idle);
        source.inspect(|source| self.memory.release(*source)).is_some()
    }

    /// Releases the source of the youngest waiting sequence that holds one. The encoder runs again when the sequence is
    /// admitted, unless the source is still there by then.
    ///
    /// # Panics
    /// When there is none: one sequence would need more than the whole pool.
    pub(super) fn release_waiting_source(&mut self) {
        let source = self.queue.take_source(Priority::Interactive);
        self.memory.release(source.expect("a request that was taken fits the pool alone"));
    }
}
