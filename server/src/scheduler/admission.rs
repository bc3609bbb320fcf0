//! Admission: from the queue to the running sequences, in the order of the queue.
//!
//! Called wherever a plan is made, after the running sequences of the same priority have the pages they need. Preempts
//! nobody but idle sequences, for interactive ones.

use std::collections::VecDeque;

use super::event::Event;
use super::plan::narrow;
use super::pool_size::target_pages;
use super::queue::Waiting;
use super::running::{Branch, Grant, Running};
use super::sequence::{Lines, Request};
use super::source::SourceSlot;
use super::state::Scheduler;
use super::windows::GivenBack;
use crate::overload::StartLimits;
use crate::request::Priority;

/// The source of an admitted sequence.
struct HeldSource {
    slot: SourceSlot,
    /// Whether it had pages before the sequence was admitted.
    was_cached: bool,
}

/// Rows and pages that a waiting sequence needs to run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Needs {
    pub rows: usize,
    /// Its source, if that has pages.
    pub source: Option<SourceSlot>,
    /// Pages of its target, and of its source where that has none.
    pub pages: usize,
    /// Whether it ran before.
    pub was_preempted: bool,
    /// Whether it goes on with what it began, whatever limits there are of what begins.
    pub goes_on: bool,
}

impl Scheduler {
    /// Limits what begins in the next plan.
    pub const fn limit_starts(&mut self, starts: StartLimits) {
        (self.starts, self.rows_begun) = (starts, 0);
    }

    /// Rows that interactive sequences began with since [`Self::limit_starts`]. Preempted ones have begun before.
    pub const fn rows_begun(&self) -> usize {
        self.rows_begun
    }

    /// Admits sequences of at least this priority from the queue's front while rows and pages are left. A sequence that
    /// does not fit blocks later ones.
    pub(super) fn admit(&mut self, priority: Priority) {
        while self.head_fits(priority) {
            let Some(head) = self.queue.pop() else { return };
            self.count_begun(&head);
            let mut running = self.start(head);
            if self.memory.is_ready(running.source) {
                running.next = running.grant_within(self.rows_left());
            }
            let turn = running.sequence.turn();
            let index = self.running.partition_point(|running| running.sequence.turn() < turn);
            self.running.insert(index, running);
            self.share_prompt(index);
        }
    }

    /// Counts the rows of a sequence that begins. Idle ones have what is left of a plan's limit, and take nothing from
    /// the interactive ones of the next.
    fn count_begun(&mut self, head: &Waiting) {
        if head.goes_on() {
            return;
        }
        let rows = head.sequence.rows();
        self.starts.begin = self.starts.begin.saturating_sub(rows);
        if head.sequence.request.priority == Priority::Interactive {
            self.rows_begun += rows;
        }
    }

    /// Whether the queue has a first sequence of at least this priority and there are rows and pages for it. Idle
    /// sequences give theirs up for an interactive one, if that fits then and no rows of theirs are under way. Where
    /// nothing runs, waiting sequences give up their sources.
    fn head_fits(&mut self, priority: Priority) -> bool {
        // Whether idle sequences make room for the head: what some of them gave up does not change that.
        let mut is_made_room_for = false;
        loop {
            let running_rows = self.running_rows();
            let idle_runs = self.idle_runs();
            let takes_from_idle = priority == Priority::Interactive && idle_runs && self.plans_under_way == 1;
            let most = if self.queue.front_goes_on() { self.limits.running_rows } else { self.row_limit() };
            if running_rows >= most && !takes_from_idle {
                return false;
            }
            let Some(needs) = self.head_needs(priority) else { return false };
            if self.fits(&needs, running_rows, 0) {
                return true;
            }
            is_made_room_for =
                is_made_room_for || priority == Priority::Interactive && self.idle_ones_make_room(&needs);
            if is_made_room_for && takes_from_idle {
                self.preempt_youngest();
                continue;
            }
            if is_made_room_for && !idle_runs && self.release_idle_source() {
                continue;
            }
            if !self.running.is_empty() {
                return false;
            }
            // No running sequence could return pages, so waiting ones must.
            self.release_waiting_source();
        }
    }

    /// Needs of the first sequence of the queue of at least this priority, if there is one that is to begin or go on.
    pub(super) fn head_needs(&mut self, priority: Priority) -> Option<Needs> {
        if self.starts.begin == 0 && !self.queue.front_goes_on() {
            return None;
        }
        let head = self.queue.head(priority, self.limits.call_rows)?;
        let key = &head.sequence.request.source;
        let source = head.source.or_else(|| self.memory.sources.find(key));
        let source_pages = if source.is_some() { 0 } else { self.memory.source_pages(key) };
        let pages = source_pages + head.sequence.pages_wanted();
        let (rows, was_preempted, goes_on) = (head.sequence.rows(), head.preempted, head.goes_on());
        Some(Needs { rows, source, pages, was_preempted, goes_on })
    }

    /// Rows below which sequences may begin.
    pub(super) fn row_limit(&self) -> usize {
        self.starts.running.min(self.limits.running_rows)
    }

    /// Whether there are rows for a sequence beside so many others. One that is wider than the present limit may have
    /// all rows that there are, or it would wait for the limit's end.
    fn has_rows(&self, needs: &Needs, others: usize) -> bool {
        let (all, limit) = (self.limits.running_rows, self.row_limit());
        let may_begin = others < limit && (others + needs.rows <= limit || needs.rows > limit);
        others + needs.rows <= all && (needs.goes_on || may_begin)
    }

    /// Whether a sequence fits beside others of so many rows, if so many pages more were available.
    pub(super) fn fits(&self, needs: &Needs, others: usize, more_pages: usize) -> bool {
        self.has_rows(needs, others) && self.has_pages(needs, others, more_pages)
    }

    /// Whether there are pages for a sequence beside others of so many rows, if so many more were available.
    pub(super) fn has_pages(&self, needs: &Needs, others: usize, more_pages: usize) -> bool {
        // A preempted sequence returns only with room for each running branch to grow by a page, so that it stays.
        let spare = if needs.was_preempted { others } else { 0 };
        needs.pages + spare <= self.memory.available_beside(needs.source) + more_pages
    }

    /// Gives a sequence its source and its pages.
    fn start(&mut self, head: Waiting) -> Running {
        let Waiting { mut sequence, source, preempted } = head;
        let source = self.hold_source(source, &sequence.request);
        self.announce(&sequence.request, source.was_cached);
        if !preempted {
            sequence.move_from_start(&mut self.moves);
        }
        let request = &*sequence.request;
        let mut pages = Vec::with_capacity(target_pages(request.target_positions()));
        self.memory.take(sequence.stem_pages(), &mut pages);
        if let Lines::Choice(generated) = &mut sequence.lines {
            generated.reserve_exact(request.asked.max_tokens as usize - generated.len());
        }
        let none = Grant::default();
        Running {
            sequence,
            source: source.slot,
            branches: vec![Branch { pages, ready: 0 }],
            stems: VecDeque::new(),
            draft: Vec::new(),
            passed_over: false,
            computed: 0,
            given_back: GivenBack::default(),
            granted: none,
            next: none,
            relies_on_plans: false,
            ended: false,
        }
    }

    /// Holds the source of a sequence; `kept` is the one it held when it was preempted.
    fn hold_source(&mut self, kept: Option<SourceSlot>, request: &Request) -> HeldSource {
        if let Some(slot) = kept {
            return HeldSource { slot, was_cached: true };
        }
        if let Some(slot) = self.memory.sources.find(&request.source) {
            self.memory.hold(slot);
            if request.priority == Priority::Interactive {
                self.memory.encoder.promote(slot);
            }
            return HeldSource { slot, was_cached: true };
        }
        HeldSource { slot: self.memory.place(&request.source, request.priority), was_cached: false }
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
        self.cache_misses += u64::from(!source_was_cached);
        self.announced.push(Event::Started { request: request.id, cached_tokens: narrow(cached_tokens) });
    }
}
