//! Pages for the rows that were granted, and preemption when too few pages are left.
//!
//! Called wherever a plan is made, before admission. For a plan made ahead there are always enough pages. The oldest
//! running sequence is never preempted.

use kernels::PageCopy;

use super::queue::Waiting;
use super::state::Scheduler;

impl Scheduler {
    /// Takes the pages that granted rows need, oldest sequence first, and appends the copies of shared ones to
    /// `copies`. Preempts the youngest when pages run short.
    pub(super) fn grow_running(&mut self, copies: &mut Vec<PageCopy>) {
        let mut index = 0;
        while index < self.running.len() {
            let missing = self.running[index].missing_pages();
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
        if self.running.len() > 1 {
            self.preempt_youngest();
            return;
        }
        self.release_waiting_source();
    }

    /// Sends the youngest running sequence back to the queue without its pages. It keeps its tokens and its source.
    fn preempt_youngest(&mut self) {
        let Some(youngest) = self.running.pop() else { return };
        youngest.release_pages(&mut self.memory.pool);
        self.preemptions += 1;
        self.queue.put_back(Waiting { sequence: youngest.sequence, source: Some(youngest.source), preempted: true });
    }

    /// Releases the source of the youngest waiting sequence that holds one. The encoder runs again when the sequence is
    /// admitted, unless the source is still there by then.
    ///
    /// # Panics
    /// When there is none: one sequence would need more than the whole pool.
    pub(super) fn release_waiting_source(&mut self) {
        let source = self.queue.take_source();
        self.memory.release(source.expect("a request that was taken fits the pool alone"));
    }
}
