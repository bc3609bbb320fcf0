//! Room that idle sequences would make for an interactive one that waits.
//!
//! Asked by `admission` before anybody is preempted, and by `step` before a plan is made ahead. Changes nothing but the
//! turns of the queue.

use super::admission::Needs;
use super::page_pool::PageId;
use super::running::Running;
use super::source::SourceSlot;
use super::state::Scheduler;
use crate::request::Priority;

impl Scheduler {
    /// Whether the last of the running sequences is an idle one: the first to give way.
    pub(super) fn idle_runs(&self) -> bool {
        self.running.last().is_some_and(is_idle)
    }

    /// Whether an interactive sequence waits that would fit if all idle ones gave up their rows and pages.
    pub(super) fn idle_ones_are_to_make_room(&mut self) -> bool {
        self.idle_runs() && self.head_needs(Priority::Interactive).is_some_and(|needs| self.idle_ones_make_room(&needs))
    }

    /// Whether a sequence would fit if all idle ones, running or waiting, gave up their rows and pages.
    pub(super) fn idle_ones_make_room(&self, needs: &Needs) -> bool {
        self.make_room(needs, std::iter::empty())
    }

    /// Whether a sequence would fit if interactive searches gave up their stems as well.
    pub(super) fn idle_ones_and_stems_make_room(&self, needs: &Needs) -> bool {
        let stems = self.interactive().iter().flat_map(|running| &running.stems);
        self.make_room(needs, stems.flat_map(|stem| &stem.pages).copied())
    }

    /// Whether a sequence would fit if all idle ones gave up their rows and pages, and others these pages of targets.
    fn make_room(&self, needs: &Needs, given_up: impl Iterator<Item = PageId>) -> bool {
        let interactive = self.interactive();
        // Where nobody else runs, those that wait give up their sources as well.
        if interactive.is_empty() {
            return true;
        }
        let idle = &self.running[interactive.len()..];
        let targets = idle.iter().flat_map(Running::page_lists).flatten().copied().chain(given_up);
        let pages = self.memory.pool.freed(targets.collect()) + self.source_pages_of_idle_ones(needs.source);
        self.fits(needs, interactive.iter().map(|running| running.sequence.rows()).sum(), pages)
    }

    fn interactive(&self) -> &[Running] {
        &self.running[..self.running.partition_point(|running| !is_idle(running))]
    }

    /// Number of pages of sources that only idle sequences hold, running or waiting, without those of one source.
    fn source_pages_of_idle_ones(&self, beside: Option<SourceSlot>) -> usize {
        let running = self.running.iter().filter(|running| is_idle(running)).map(|running| running.source);
        let waiting = self.queue.waiting.iter().filter(|waiting| waiting.sequence.request.priority == Priority::Idle);
        let held = running.chain(waiting.filter_map(|waiting| waiting.source));
        let mut held: Vec<SourceSlot> = held.filter(|&slot| Some(slot) != beside).collect();
        held.sort_unstable();
        let pages = |held: &[SourceSlot]| {
            let source = self.memory.sources.get(held[0]);
            if self.memory.holders(source) as usize == held.len() { source.pages().len() } else { 0 }
        };
        held.chunk_by(|a, b| a == b).map(pages).sum()
    }
}

fn is_idle(running: &Running) -> bool {
    running.sequence.request.priority == Priority::Idle
}
