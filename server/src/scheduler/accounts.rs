//! What the scheduler tells of itself: page counts, counters, and the check that nothing was lost.
//!
//! Called for metrics, by the engine when it is idle, and by tests after every step. Changes nothing.

use std::collections::HashMap;

use kernels::PAGE_TOKENS;

use super::Scheduler;
use super::pages::{Imbalance, PageCounts, PageId};
use super::plan::narrow;
use super::source::SourceSlot;

/// Counted since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SchedulerCounters {
    /// Sequences that lost their self pages.
    pub preemptions: u64,
    /// Sources put through the encoder.
    pub encoder_runs: u64,
    /// Requests that found their source's pages there when they started.
    pub cache_hits: u64,
}

impl Scheduler {
    /// Pages by state.
    pub const fn counts(&self) -> PageCounts {
        let (free, cached) = (self.memory.pool.free(), self.memory.sources.idle_pages());
        PageCounts { free, cached, held: self.memory.pool.total() - free - cached }
    }

    /// Positions for which the held pages have room.
    pub fn held_room(&self) -> usize {
        let of_sources = self.memory.sources.iter().filter(|source| !source.is_idle());
        let source_pages: usize = of_sources.map(|source| source.pages().len()).sum();
        let target_pages: usize = self.running.iter().map(|running| running.pages.len()).sum();
        source_pages * self.limits.pool.source_page_tokens + target_pages * PAGE_TOKENS
    }

    /// Positions that the held pages are for. The rest of their room is waste.
    pub fn held_tokens(&self) -> usize {
        let of_sources = self.memory.sources.iter().filter(|source| !source.is_idle());
        let source_tokens: usize = of_sources.map(|source| source.key().tokens()).sum();
        let target_tokens = self.running.iter().map(|running| {
            let room = running.pages.len() * PAGE_TOKENS;
            running.sequence.positions_wanted().min(room)
        });
        source_tokens + target_tokens.sum::<usize>()
    }

    /// Sequences that have a row and pages, those whose source is still being encoded included.
    pub const fn running(&self) -> usize {
        self.running.len()
    }

    /// Sequences in the queue.
    pub fn waiting(&self) -> usize {
        self.waiting.len() + self.turns.len()
    }

    /// Whether there are any.
    pub(super) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty() || !self.turns.is_empty()
    }

    /// Counters since the start.
    pub const fn counters(&self) -> SchedulerCounters {
        SchedulerCounters {
            preemptions: self.preemptions,
            encoder_runs: self.memory.encoding.runs(),
            cache_hits: self.cache_hits,
        }
    }

    /// Walks all owners of pages: every page has exactly one, and all counts agree.
    ///
    /// # Errors
    /// The first thing that does not add up.
    pub fn check_conservation(&self) -> Result<(), Imbalance> {
        let mut seen = vec![false; self.memory.pool.total()];
        see(&mut seen, self.memory.pool.free_pages())?;
        for running in &self.running {
            see(&mut seen, &running.pages)?;
        }
        let mut cached = 0;
        for source in self.memory.sources.iter() {
            see(&mut seen, source.pages())?;
            let positions = source.key().tokens();
            if source.pages().len() != self.memory.source_pages(source.key()) {
                return Err(Imbalance::WrongSize { pages: source.pages().len(), positions });
            }
            cached += if source.is_idle() { source.pages().len() } else { 0 };
        }
        if let Some(index) = seen.iter().position(|&seen| !seen) {
            return Err(Imbalance::Lost { page: PageId(narrow(index)) });
        }
        agree("cached pages", cached, self.memory.sources.idle_pages())?;
        agree("sequences that had their turn", self.running.len() + self.waiting.len(), self.turns.begun())?;
        self.check_holders()
    }

    fn check_holders(&self) -> Result<(), Imbalance> {
        let mut holders: HashMap<SourceSlot, usize> = HashMap::new();
        let of_running = self.running.iter().map(|running| running.source);
        let of_waiting = self.waiting.iter().filter_map(|waiting| waiting.source);
        for slot in of_running.chain(of_waiting) {
            *holders.entry(slot).or_default() += 1;
        }
        for (&slot, &counted) in &holders {
            agree("holders of a source", counted, self.memory.sources.get(slot).holders() as usize)?;
        }
        let held = self.memory.sources.iter().filter(|source| !source.is_idle()).count();
        agree("held sources", holders.len(), held)
    }
}

fn see(seen: &mut [bool], pages: &[PageId]) -> Result<(), Imbalance> {
    for &page in pages {
        if std::mem::replace(&mut seen[page.0 as usize], true) {
            return Err(Imbalance::OwnedTwice { page });
        }
    }
    Ok(())
}

const fn agree(what: &'static str, counted: usize, recorded: usize) -> Result<(), Imbalance> {
    if counted == recorded { Ok(()) } else { Err(Imbalance::Miscounted { what, counted, recorded }) }
}
