//! From the queue to the running sequences: calls take turns, and who had a turn stays in that order.
//!
//! Called wherever a plan is made, after the running sequences have what they need. Preempts nobody.

use super::Scheduler;
use super::pages::target_pages;
use super::plan::{Event, narrow};
use super::sequence::{Grant, Request, Running, Sequence, Waiting};
use super::source::{SourceKey, SourceSlot};
use super::turns::Unbegun;

impl Scheduler {
    /// Admits from the queue's front while rows and pages are there. A sequence that does not fit blocks those behind it.
    pub(super) fn admit(&mut self) {
        let mut rows_left = self.rows_left();
        while self.running.len() < self.limits.running_rows && self.has_head() && self.head_fits() {
            let Some(head) = self.waiting.pop_front() else { return };
            let mut running = self.give_pages(head);
            if self.memory.is_ready(running.source) {
                running.next.rows = running.owed().rows.min(rows_left);
                rows_left -= running.next.rows;
            }
            self.running.push(running);
        }
    }

    /// Whether anybody waits whose turn it is. A turn is taken only when there is a row for it: who comes later is not
    /// behind more than one sequence of a call.
    fn has_head(&mut self) -> bool {
        if self.waiting.is_empty()
            && let Some(Unbegun { request, choice }) = self.turns.next(self.limits.call_rows)
        {
            let sequence = Sequence { request, choice, generated: Vec::new(), scored: 0 };
            self.waiting.push_back(Waiting { sequence, source: None, preempted: false });
        }
        !self.waiting.is_empty()
    }

    /// Whether the pages of the queue's first sequence can be had.
    fn head_fits(&mut self) -> bool {
        while let Some(head) = self.waiting.front() {
            let key = &head.sequence.request.source;
            let source = head.source.or_else(|| self.memory.sources.find(key));
            let source_pages = if source.is_some() { 0 } else { self.memory.source_pages(key) };
            // One that was preempted comes back to stay: with room for each running sequence to grow by a page.
            let spare = if head.preempted { self.running.len() } else { 0 };
            let wanted = source_pages + target_pages(head.sequence.positions_wanted()) + spare;
            if wanted <= self.memory.available_beside(source) {
                return true;
            }
            if !self.running.is_empty() {
                return false;
            }
            // Nobody runs who could return pages, so those who wait must.
            self.release_waiting_source();
        }
        false
    }

    fn give_pages(&mut self, head: Waiting) -> Running {
        let Waiting { mut sequence, source, .. } = head;
        let (source, was_there) = self.hold_source(source, &sequence.request.source);
        self.announce(&sequence.request, was_there);
        let request = &*sequence.request;
        let mut pages = Vec::with_capacity(target_pages(request.target_positions()));
        self.memory.take(target_pages(sequence.positions_wanted()), &mut pages);
        let tokens_left = request.asked.max_tokens as usize - sequence.generated.len();
        sequence.generated.reserve_exact(tokens_left);
        let none = Grant::default();
        Running { sequence, source, pages, computed: 0, granted: none, next: none, ended: false }
    }

    /// The source of an admitted sequence, held, and whether it had pages before.
    fn hold_source(&mut self, kept: Option<SourceSlot>, key: &SourceKey) -> (SourceSlot, bool) {
        if let Some(slot) = kept {
            return (slot, true);
        }
        if let Some(slot) = self.memory.sources.find(key) {
            self.memory.sources.hold(slot);
            return (slot, true);
        }
        (self.memory.place(key), false)
    }

    /// Tells of a request's start, with its first choice.
    fn announce(&mut self, request: &Request, source_was_there: bool) {
        let Some(entry) = self.requests.get_mut(&request.id) else { return };
        if entry.started {
            return;
        }
        entry.started = true;
        let cached_tokens = if source_was_there { request.source.tokens() } else { 0 };
        self.cache_hits += u64::from(source_was_there);
        self.announced.push(Event::Started { request: request.id, cached_tokens: narrow(cached_tokens) });
    }
}
