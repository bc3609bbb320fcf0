//! Numbers that the scheduler reports: pages by state, their use, sequences, and counters.
//!
//! Read by the engine for metrics. Changes nothing.

use kernels::PAGE_TOKENS;

use super::memory::Memory;
use super::plan::narrow;
use super::running::Running;
use super::source::Source;
use super::state::Scheduler;
use crate::overload::RowsTaken;
use crate::request::Priority;

/// Pages by state; free, held and cached ones add up to the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageCounts {
    /// Pages that can be made of free pieces.
    pub free: usize,
    /// Pages of running sequences, and of sources that some sequence holds. Those that lack pieces count by what is
    /// left of them, rounded up together.
    pub held: usize,
    /// Pages of encoded sources that no sequence holds; evicted when pages run short.
    pub cached: usize,
    /// Pages of sources among the held ones.
    pub held_sources: usize,
}

/// Counted since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SchedulerCounters {
    /// Sequences that were preempted.
    pub preemptions: u64,
    /// Sources that entered the encoder.
    pub encoder_runs: u64,
    /// Requests whose source had pages when they started.
    pub cache_hits: u64,
    /// Requests whose source had none.
    pub cache_misses: u64,
    /// Encoded sources that were evicted.
    pub evictions: u64,
    /// Runs of tokens that were drafted.
    pub drafts: u64,
    /// Tokens that were drafted.
    pub drafted: u64,
    /// Tokens that were drafted and right.
    pub accepted: u64,
}

impl Scheduler {
    /// Pages by state.
    pub const fn counts(&self) -> PageCounts {
        let Memory { pool, sources, .. } = &self.memory;
        let (free, cached) = (pool.free(), sources.idle_pages());
        PageCounts { free, cached, held: pool.total() - free - cached, held_sources: sources.pages() - cached }
    }

    /// Number of positions for which the held pages have room. A page counts for every branch that owns it.
    pub fn held_room(&self) -> usize {
        let source_pages: usize = self.held_sources().map(|source| source.pages().len()).sum();
        let target_pages: usize = self.running.iter().map(Running::owned_pages).sum();
        source_pages * self.limits.pool.source_page_tokens + target_pages * PAGE_TOKENS
    }

    /// Number of positions that the held pages are for. The rest of their room is waste.
    pub fn held_tokens(&self) -> usize {
        let source_tokens: usize = self.held_sources().map(|source| source.key().tokens()).sum();
        let target_tokens = self.running.iter().map(|running| {
            let rooms = running.page_lists().map(|pages| pages.len() * PAGE_TOKENS);
            rooms.map(|room| running.sequence.positions_wanted().min(room)).sum::<usize>()
        });
        source_tokens + target_tokens.sum::<usize>()
    }

    /// Number of rows that running sequences take, including sequences whose source is still being encoded. A beam
    /// search takes as many as it is wide.
    pub fn running_rows(&self) -> usize {
        self.running.iter().map(|running| running.sequence.rows()).sum()
    }

    /// Rows that run at once, and whether an interactive sequence could not begin for lack of rows or pages.
    pub fn rows_taken(&self) -> RowsTaken {
        let waits = self.queue.front_is(Priority::Interactive);
        let is_blocked = (!waits || self.starts.begin > 0).then_some(waits);
        RowsTaken { rows: self.limits.running_rows, is_blocked }
    }

    /// Whether something waits that could not begin for lack of rows, of pages, or of time in the encoder, or was not
    /// to begin yet.
    pub fn is_full(&self) -> bool {
        let has_rows = self.starts.begin > 0 && self.running_rows() < self.row_limit();
        let waits = !self.queue.is_empty() && (!has_rows || self.queue.front_is(Priority::Idle));
        waits || self.waiting_encodings() > 0
    }

    /// Most tokens that each row of an interactive sequence may still get.
    pub fn tokens_left(&self) -> impl Iterator<Item = u32> {
        let interactive =
            self.running.iter().filter(|running| running.sequence.request.priority == Priority::Interactive);
        interactive.flat_map(|running| {
            let sequence = &running.sequence;
            let left = sequence.request.asked.max_tokens.saturating_sub(narrow(sequence.generated_tokens())).max(1);
            std::iter::repeat_n(left, sequence.rows())
        })
    }

    /// Number of sequences in the queue.
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// Number of encoder requests that have not entered the encoder.
    pub fn waiting_encodings(&self) -> usize {
        self.memory.encoder.waiting_encodings()
    }

    /// Counters since the start.
    pub const fn counters(&self) -> SchedulerCounters {
        SchedulerCounters {
            preemptions: self.preemptions,
            encoder_runs: self.memory.encoder.runs(),
            cache_hits: self.cache_hits,
            cache_misses: self.cache_misses,
            evictions: self.memory.sources.evictions(),
            drafts: self.drafts,
            drafted: self.drafted,
            accepted: self.accepted,
        }
    }

    fn held_sources(&self) -> impl Iterator<Item = &Source> {
        self.memory.sources.iter().filter(|source| !source.is_idle())
    }
}
