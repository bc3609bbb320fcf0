//! Pages for running sequences, and who gives them up when there are none.
//!
//! Called wherever a plan is made, before anybody is admitted; one made ahead finds the pages there. The oldest running sequence is never among those who give.

use super::Scheduler;
use super::sequence::Waiting;

impl Scheduler {
    /// Takes the pages that granted rows need, oldest sequence first. Sequences that lose theirs leave.
    pub(super) fn grow_running(&mut self) {
        let mut index = 0;
        while index < self.running.len() {
            let missing = self.running[index].missing_pages();
            if missing > self.memory.available() {
                self.give_up_something();
                continue;
            }
            let running = &mut self.running[index];
            self.memory.take(missing, &mut running.pages);
            index += 1;
        }
    }

    /// Frees pages by the least harmful means left: the youngest running sequence, then sources that only
    /// waiting sequences need.
    fn give_up_something(&mut self) {
        if self.running.len() > 1 {
            self.preempt_youngest();
            return;
        }
        self.release_waiting_source();
    }

    /// Sends the youngest running sequence back to the queue. Its tokens and its source stay.
    fn preempt_youngest(&mut self) {
        let Some(mut youngest) = self.running.pop() else { return };
        self.memory.pool.give_back(&mut youngest.pages);
        self.preemptions += 1;
        // Younger than all that run and older than all that wait: the front keeps the order of turns.
        self.waiting.push_front(Waiting {
            sequence: youngest.sequence,
            source: Some(youngest.source),
            preempted: true,
        });
    }

    /// Takes its source from the youngest waiting sequence that holds one. The encoder runs again when the sequence's
    /// turn comes, unless somebody else holds the source or its pages are not needed until then.
    ///
    /// # Panics
    /// When there is none: somebody needs more than a pool of which nobody else holds a page.
    pub(super) fn release_waiting_source(&mut self) {
        let youngest = self.waiting.iter_mut().rev().find_map(|waiting| waiting.source.take());
        self.memory.release(youngest.expect("a request that was taken fits the pool alone"));
    }
}
