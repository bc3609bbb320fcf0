//! Room that idle sequences would make for an interactive one that waits.
//!
//! Asked by `admission` before anybody is preempted, and by `step` before a plan is made ahead. Changes nothing but the
//! turns of the queue.

use std::collections::HashMap;
use std::hash::Hash;

use super::admission::Needs;
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
        let interactive = &self.running[..self.running.partition_point(|running| !is_idle(running))];
        // Where nobody else runs, those that wait give up their sources as well.
        let is_alone = interactive.is_empty();
        let rows = interactive.iter().map(|running| running.sequence.rows()).sum();
        is_alone || self.fits(needs, rows, self.pages_of_idle_ones(needs.source))
    }

    /// Number of pages that would be available if all idle sequences gave up theirs, without those of a source.
    fn pages_of_idle_ones(&self, beside: Option<SourceSlot>) -> usize {
        let running = || self.running.iter().filter(|running| is_idle(running));
        let waiting = self.queue.waiting.iter().filter(|waiting| waiting.sequence.request.priority == Priority::Idle);
        let targets = counted(running().flat_map(Running::page_lists).flatten().copied());
        let sources = counted(running().map(|running| running.source).chain(waiting.filter_map(|one| one.source)));
        let targets = targets.into_iter().filter(|&(page, owners)| self.memory.pool.references(page) == owners);
        let sources = sources.into_iter().filter(|&(slot, _)| Some(slot) != beside).filter_map(|(slot, holders)| {
            let source = self.memory.sources.get(slot);
            (self.memory.holders(source) == holders).then(|| source.pages().len())
        });
        targets.count() + sources.sum::<usize>()
    }
}

fn is_idle(running: &Running) -> bool {
    running.sequence.request.priority == Priority::Idle
}

/// How often each item comes.
fn counted<T: Eq + Hash>(items: impl Iterator<Item = T>) -> HashMap<T, u32> {
    let mut counts = HashMap::new();
    items.for_each(|item| *counts.entry(item).or_default() += 1);
    counts
}
