//! Admission: from the queue to the running sequences, in the order of the queue.
//!
//! Called wherever a plan is made, after the running sequences have the pages they need. Preempts nobody.

use super::event::Event;
use super::plan::narrow;
use super::pool_size::target_pages;
use super::queue::Waiting;
use super::running::{Branch, Grant, Running};
use super::sequence::{Lines, Request};
use super::source::{SourceKey, SourceSlot};
use super::state::Scheduler;

/// The source of an admitted sequence.
struct HeldSource {
    slot: SourceSlot,
    /// Whether it had pages before the sequence was admitted.
    was_cached: bool,
}

impl Scheduler {
    /// Admits from the queue's front while rows and pages are left. A sequence that does not fit blocks later ones.
    pub(super) fn admit(&mut self) {
        let mut rows_left = self.rows_left();
        while self.head_fits() {
            let Some(head) = self.queue.pop() else { return };
            let mut running = self.start(head);
            if self.memory.is_ready(running.source) {
                running.next.rows = running.owed().rows.min(rows_left);
            }
            self.running.push(running);
            self.share_prompt(self.running.len() - 1);
            rows_left -= self.running.last().map_or(0, Running::next_rows);
        }
    }

    /// Whether the queue has a first sequence and there are rows and pages for it.
    fn head_fits(&mut self) -> bool {
        let running_rows = self.running_rows();
        while running_rows < self.limits.running_rows
            && let Some(head) = self.queue.head(self.limits.call_rows)
        {
            if running_rows + head.sequence.rows() > self.limits.running_rows {
                return false;
            }
            let key = &head.sequence.request.source;
            let source = head.source.or_else(|| self.memory.sources.find(key));
            let source_pages = if source.is_some() { 0 } else { self.memory.source_pages(key) };
            // A preempted sequence returns only with room for each running branch to grow by a page, so that it stays.
            let spare = if head.preempted { running_rows } else { 0 };
            let wanted = source_pages + head.sequence.pages_wanted() + spare;
            if wanted <= self.memory.available_beside(source) {
                return true;
            }
            if !self.running.is_empty() {
                return false;
            }
            // No running sequence could return pages, so waiting ones must.
            self.release_waiting_source();
        }
        false
    }

    /// Gives a sequence its source and its pages.
    fn start(&mut self, head: Waiting) -> Running {
        let Waiting { mut sequence, source, preempted } = head;
        let source = self.hold_source(source, &sequence.request.source);
        self.announce(&sequence.request, source.was_cached);
        if !preempted {
            sequence.move_from_start(&mut self.moves);
        }
        let request = &*sequence.request;
        let mut pages = Vec::with_capacity(target_pages(request.target_positions()));
        self.memory.take(target_pages(sequence.stem_positions()), &mut pages);
        if let Lines::Choice(generated) = &mut sequence.lines {
            generated.reserve_exact(request.asked.max_tokens as usize - generated.len());
        }
        let none = Grant::default();
        Running {
            sequence,
            source: source.slot,
            branches: vec![Branch { pages }],
            draft: Vec::new(),
            computed: 0,
            granted: none,
            next: none,
            relies_on_plans: false,
            ended: false,
        }
    }

    /// Holds the source of a sequence; `kept` is the one it held when it was preempted.
    fn hold_source(&mut self, kept: Option<SourceSlot>, key: &SourceKey) -> HeldSource {
        if let Some(slot) = kept {
            return HeldSource { slot, was_cached: true };
        }
        if let Some(slot) = self.memory.sources.find(key) {
            self.memory.hold(slot);
            return HeldSource { slot, was_cached: true };
        }
        HeldSource { slot: self.memory.place(key), was_cached: false }
    }

    /// Announces the start of a request when its first choice is admitted.
    fn announce(&mut self, request: &Request, source_was_cached: bool) {
        let Some(open) = self.requests.get_mut(&request.id) else { return };
        if open.started {
            return;
        }
        open.started = true;
        let cached_tokens = if source_was_cached { request.source.tokens() } else { 0 };
        self.cache_hits += u64::from(source_was_cached);
        self.announced.push(Event::Started { request: request.id, cached_tokens: narrow(cached_tokens) });
    }
}
