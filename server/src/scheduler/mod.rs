//! The scheduler: a synchronous state machine between the engine thread and the model.
//!
//! Called by the engine thread: submit and cancel, then plan, run, commit. It knows token ids and page indices;
//! no clock, channel, text or arithmetic.
//!
//! What holds between any two calls: sequences run and wait in the order in which they had their turns, the running ones first;
//! a source has an entry exactly as long as it has pages; pages that a plan under way reads or writes do not change hands before a
//! plan that is run after it.

mod accounts;
mod admission;
mod ahead;
mod encoding;
mod memory;
mod outcome;
mod pages;
mod plan;
mod preemption;
mod rows;
mod sequence;
mod source;
#[cfg(test)]
mod tests;
mod turns;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

pub use accounts::SchedulerCounters;
pub use pages::{Imbalance, PageCounts, PageId, PoolSize};
pub use plan::{EncodeStep, Event, Plan, ScoreAt};

use self::encoding::StepFacts;
use self::memory::Memory;
use self::plan::narrow;
use self::sequence::{Request, Running, Sequence, Waiting};
use self::turns::Turns;
use crate::request::{CallId, Caller, FinishReason, GenerationRequest, Refusal, RequestId};

/// What a step and the machine can bear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SchedulerLimits {
    /// The page pool.
    pub pool: PoolSize,
    /// Sequences that run at once.
    pub running_rows: usize,
    /// Those of them that may be of one call.
    pub call_rows: usize,
    /// Decoder rows of one step, at least `running_rows`.
    pub step_rows: usize,
    /// Source tokens put through the whole encoder in one step while streams are decoded.
    pub step_encoder_tokens: usize,
    /// Layers of the encoder.
    pub encoder_layers: usize,
}

/// Tokens that a target begins and ends with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BoundaryTokens {
    /// First token of every target.
    pub start: u32,
    /// Tokens that end a target.
    pub end: Vec<u32>,
}

/// What is known of a request beside its sequences.
#[derive(Debug)]
struct Entry {
    call: CallId,
    /// Choices neither finished nor cancelled.
    alive: u32,
    started: bool,
}

/// See the module's head.
#[derive(Debug)]
pub struct Scheduler {
    limits: SchedulerLimits,
    model: BoundaryTokens,
    memory: Memory,
    requests: HashMap<RequestId, Entry>,
    /// Oldest first.
    running: Vec<Running>,
    /// Those whose turn has come: oldest first, and all younger than those that run.
    waiting: VecDeque<Waiting>,
    /// Those whose turn has not come.
    turns: Turns,
    /// Events that are already certain; they go out with the next commit.
    announced: Vec<Event>,
    /// Cancellations that came while a plan was under way.
    cancelled: Vec<(RequestId, Option<u32>)>,
    plans_under_way: usize,
    step: u64,
    preemptions: u64,
    cache_hits: u64,
}

impl Scheduler {
    /// Nothing queued, all pages free.
    ///
    /// # Panics
    /// When `step_rows < running_rows`, or a limit that must allow something is 0.
    pub fn new(limits: SchedulerLimits, model: BoundaryTokens) -> Self {
        assert!(limits.step_rows >= limits.running_rows, "every running sequence has a row in each step");
        assert!(limits.running_rows > 0 && limits.encoder_layers > 0, "limits leave room for one sequence");
        assert!(limits.call_rows > 0, "limits leave room for one sequence of each call");
        assert!(limits.pool.source_page_tokens > 0, "a page holds something of a source");
        Self {
            memory: Memory::new(limits.pool),
            running: Vec::with_capacity(limits.running_rows),
            limits,
            model,
            requests: HashMap::new(),
            waiting: VecDeque::new(),
            turns: Turns::default(),
            announced: Vec::new(),
            cancelled: Vec::new(),
            plans_under_way: 0,
            step: 0,
            preemptions: 0,
            cache_hits: 0,
        }
    }

    /// Queues all choices of a request. Identifiers are not reused.
    ///
    /// # Errors
    /// [`Refusal::NeverFits`]; nothing is queued then.
    pub fn submit(&mut self, id: RequestId, caller: &Caller, asked: GenerationRequest) -> Result<(), Refusal> {
        let choices = asked.choices;
        let key = self.memory.sources.key(&asked.source, &caller.salt);
        let request = Arc::new(Request { id, source: key, start_token: self.model.start, asked });
        if request.is_trivial() {
            self.announced.push(Event::Started { request: id, cached_tokens: 0 });
            self.announced.extend((0..choices).map(|choice| Event::Finished {
                request: id,
                choice,
                reason: FinishReason::Length,
            }));
            return Ok(());
        }
        let pool = self.limits.pool;
        let (needed, pages) = (pool.request_pages(request.asked.lengths()), pool.pages);
        if needed > pages {
            return Err(Refusal::NeverFits { needed, pages });
        }
        self.requests.insert(id, Entry { call: caller.call, alive: choices, started: false });
        self.turns.push(caller.call, &request);
        Ok(())
    }

    /// Writes the work of the next step. It is to be run, then committed (or failed) before the next call; an
    /// empty one too, for the events that may have come up.
    ///
    /// # Panics
    /// When the last plan was not committed.
    pub fn plan(&mut self, plan: &mut Plan) {
        assert_eq!(
            self.plans_under_way, 0,
            "a plan is committed before the next one is made, unless that is made ahead"
        );
        self.plans_under_way = 1;
        self.grant_rows();
        self.write(plan);
        self.running.iter_mut().for_each(Running::move_on);
    }

    /// Takes pages for the rows that were granted, adds whom and what there is room for, and writes it all down.
    fn write(&mut self, plan: &mut Plan) {
        self.step += 1;
        plan.clear();
        self.grow_running();
        self.admit();
        let step = StepFacts { number: self.step, decoding: self.rows_left() < self.limits.step_rows };
        let Memory { sources, encoding, .. } = &mut self.memory;
        encoding.plan(sources, &self.limits, &step, plan);
        self.write_rows(plan);
    }

    /// What the latest plan encodes is encoded, for whoever comes after it.
    fn finish_encoding(&mut self) {
        self.memory.encoding.commit(&mut self.memory.sources, self.limits.encoder_layers);
    }

    /// Ends a request, or one of its choices. No event of it follows and its pages are free at once; while a plan is
    /// under way, with its commit. Unknown ones are ignored.
    pub fn cancel(&mut self, request: RequestId, choice: Option<u32>) {
        if self.plans_under_way > 0 {
            self.cancelled.push((request, choice));
            return;
        }
        self.end(request, choice);
        self.sweep();
    }

    /// Whether nothing is left to do or to tell.
    pub fn is_idle(&self) -> bool {
        self.running.is_empty() && !self.has_waiting() && self.announced.is_empty() && self.plans_under_way == 0
    }

    /// Takes what was cancelled out of the queue and marks it among the running ones, for [`Self::sweep`].
    fn end(&mut self, request: RequestId, choice: Option<u32>) {
        self.announced.retain(|event| event.request() != request || (choice.is_some() && event.choice() != choice));
        let Some(entry) = self.requests.get_mut(&request) else { return };
        let concerns = |sequence: &Sequence| {
            sequence.request.id == request && choice.is_none_or(|choice| choice == sequence.choice)
        };
        for running in &mut self.running {
            running.ended |= concerns(&running.sequence);
        }
        entry.alive -= narrow(self.turns.remove(entry.call, request, choice));
        self.waiting.retain_mut(|waiting| {
            if !concerns(&waiting.sequence) {
                return true;
            }
            entry.alive -= 1;
            self.turns.end(entry.call);
            if let Some(source) = waiting.source.take() {
                self.memory.release(source);
            }
            false
        });
        if entry.alive == 0 {
            self.requests.remove(&request);
        }
    }

    /// Removes the running sequences that ended, with their pages. Those of which rows are under way still need theirs.
    fn sweep(&mut self) {
        let Self { running, memory, requests, turns, .. } = self;
        running.retain_mut(|running| {
            if !running.ended || running.granted.rows > 0 {
                return true;
            }
            memory.pool.give_back(&mut running.pages);
            memory.release(running.source);
            let id = running.sequence.request.id;
            if let Some(entry) = requests.get_mut(&id) {
                turns.end(entry.call);
                entry.alive -= 1;
                if entry.alive == 0 {
                    requests.remove(&id);
                }
            }
            false
        });
    }
}
