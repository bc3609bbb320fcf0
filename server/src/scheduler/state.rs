//! The scheduler's state.
//!
//! The files beside this one change it. The engine's entry points are in `submission`, `cancellation`, `step` and
//! `commit`.

use std::collections::HashMap;

use super::event::Event;
use super::limits::{BoundaryTokens, SchedulerLimits};
use super::memory::Memory;
use super::place::Move;
use super::queue::Queue;
use super::rules::RuleWriter;
use super::running::Running;
use super::sequence::Selection;
use crate::overload::StartLimits;
use crate::request::{CallId, RequestId};

/// A request that is not over, beside its sequences.
#[derive(Debug)]
pub(super) struct OpenRequest {
    /// Its call.
    pub call: CallId,
    /// Number of sequences that are neither finished nor cancelled.
    pub alive: u32,
    /// Number of choices that one beam search gives; absent: each choice is a sequence.
    pub searched: Option<usize>,
    /// Choices of the beam search that were cancelled while others go on.
    pub silent: Vec<u32>,
    /// Whether [`Event::Started`] was announced.
    pub started: bool,
}

impl OpenRequest {
    /// Notes that a choice of the beam search was cancelled. Returns how many were.
    pub fn silence(&mut self, choice: u32) -> usize {
        if !self.silent.contains(&choice) && self.searched.is_some_and(|choices| (choice as usize) < choices) {
            self.silent.push(choice);
        }
        self.silent.len()
    }
}

/// Admits, plans and ends sequences; see the module's documentation.
#[derive(Debug)]
pub struct Scheduler {
    pub(super) limits: SchedulerLimits,
    pub(super) tokens: BoundaryTokens,
    pub(super) memory: Memory,
    pub(super) requests: HashMap<RequestId, OpenRequest>,
    /// Sequences that have a row, interactive ones first, then oldest first.
    pub(super) running: Vec<Running>,
    pub(super) queue: Queue,
    pub(super) rules: RuleWriter,
    /// Moves that nobody took yet.
    pub(super) moves: Vec<Move>,
    /// Events that are already certain. The next commit returns them.
    pub(super) announced: Vec<Event>,
    /// Cancellations that came while a plan was under way.
    pub(super) cancelled: Vec<Selection>,
    /// Limits of the sequences that begin in the plan that is being made.
    pub(super) starts: StartLimits,
    /// Rows that sequences began with since that was set.
    pub(super) rows_begun: usize,
    /// Plans that were made and not committed; at most two.
    pub(super) plans_under_way: usize,
    /// Number of the latest plan.
    pub(super) step: u64,
    pub(super) preemptions: u64,
    pub(super) cache_hits: u64,
    pub(super) cache_misses: u64,
    pub(super) drafts: u64,
    pub(super) drafted: u64,
    pub(super) accepted: u64,
}

impl Scheduler {
    /// A scheduler with an empty queue and free pages.
    ///
    /// # Panics
    /// When `step_rows < running_rows`, or a limit that must allow something is 0.
    pub fn new(limits: SchedulerLimits, tokens: BoundaryTokens) -> Self {
        assert!(limits.step_rows >= limits.running_rows, "every running sequence has a row in each step");
        assert!(limits.running_rows > 0 && limits.encoder.layers > 0, "limits leave room for one sequence");
        assert!(limits.call_rows > 0, "limits leave room for one sequence of each call");
        assert!(limits.pool.source_page_tokens > 0, "a page holds at least one source token");
        assert!(limits.pool.pieces.windowed < limits.pool.pieces.all, "a page has a piece that is needed to its end");
        Self {
            memory: Memory::new(&limits),
            running: Vec::with_capacity(limits.running_rows),
            limits,
            tokens,
            requests: HashMap::new(),
            queue: Queue::default(),
            rules: RuleWriter::default(),
            moves: Vec::new(),
            announced: Vec::new(),
            cancelled: Vec::new(),
            starts: StartLimits::default(),
            rows_begun: 0,
            plans_under_way: 0,
            step: 0,
            preemptions: 0,
            cache_hits: 0,
            cache_misses: 0,
            drafts: 0,
            drafted: 0,
            accepted: 0,
        }
    }

    /// Whether nothing is left to do or to tell.
    pub fn is_idle(&self) -> bool {
        self.running.is_empty()
            && self.queue.is_empty()
            && self.memory.encoder.open_encodings() == 0
            && self.announced.is_empty()
            && self.plans_under_way == 0
    }
}
