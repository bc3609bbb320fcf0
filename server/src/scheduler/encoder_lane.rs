//! A lane of the encoder: sources and encoder requests that wait for it, and the batch that is in it.
//!
//! Used by `encoder_queue`. Sources of generations have their pages when they come here; encoder requests have none and
//! take turns, client by client and call by call. Where both wait, they enter the encoder in alternation. Idle ones of
//! both kinds wait as long as any interactive one does.

use std::collections::VecDeque;
use std::ops::Range;

use kernels::PageSpan;

use super::page_pool::PagePool;
use super::plan::{EncodeWork, narrow};
use super::source::SourceSlot;
use super::source_cache::SourceCache;
use crate::fair_turns::{Costs, FairTurns};
use crate::request::{CallId, Caller, EncodeRequest, Priority, RequestId};

/// An encoder request that waits, or whose source is in the encoder.
#[derive(Debug)]
pub struct Encoding {
    /// Id of the request.
    pub id: RequestId,
    /// The request.
    pub asked: EncodeRequest,
}

impl Costs for Encoding {
    fn cost(&self) -> u64 {
        self.asked.tokens() as u64
    }
}

/// Sources, and the pool that their pages are from.
#[derive(Debug, Clone, Copy)]
pub struct PlacedSources<'a> {
    /// The sources.
    pub sources: &'a SourceCache,
    /// The pool.
    pub pool: &'a PagePool,
}

/// One lane.
#[derive(Debug, Default)]
pub struct EncoderLane {
    /// Sources and encoder requests that wait, for each priority.
    waiting: [LaneQueue; Priority::ALL.len()],
    /// Whether an encoder request entered the encoder last.
    encoding_was_last: bool,
    batch: Batch,
}

/// Sources and encoder requests of a priority that wait.
#[derive(Debug, Default)]
struct LaneQueue {
    sources: VecDeque<SourceSlot>,
    encodings: FairTurns<Encoding>,
}

/// Sources that go through the encoder together. Those of generations stand before encoder requests.
#[derive(Debug, Default)]
struct Batch {
    sources: Vec<SourceSlot>,
    encodings: Vec<Encoding>,
    /// The highest priority of those for which it is encoded.
    priority: Priority,
    tokens: usize,
    /// Parts of the whole work, once some are planned.
    all_parts: usize,
    /// Parts that were run.
    parts_done: usize,
    /// Parts that will have been run once the current plan is committed.
    parts_planned: usize,
}

/// Tokens that a batch may have.
#[derive(Debug, Clone, Copy)]
pub struct TokenBudget {
    /// Tokens of all sources.
    pub all: usize,
    /// Tokens of encoder requests alone.
    pub encodings: usize,
}

/// The source that enters the encoder next.
struct Next {
    priority: Priority,
    tokens: usize,
    is_encoding: bool,
}

impl LaneQueue {
    fn is_empty(&self) -> bool {
        self.sources.is_empty() && self.encodings.is_empty()
    }
}

impl EncoderLane {
    /// Queues a source that has its pages.
    pub fn push_source(&mut self, source: SourceSlot, priority: Priority) {
        self.waiting[priority.index()].sources.push_back(source);
    }

    /// Lets a source that waits as an idle one, or is in the encoder, count as an interactive one.
    pub fn promote(&mut self, source: SourceSlot) {
        if self.batch.sources.contains(&source) {
            self.batch.priority = Priority::Interactive;
        }
        let [interactive, idle] = &mut self.waiting;
        if let Some(place) = idle.sources.iter().position(|&waiting| waiting == source) {
            interactive.sources.extend(idle.sources.remove(place));
        }
    }

    /// Queues an encoder request behind others of its call.
    pub fn push_encoding(&mut self, caller: &Caller, encoding: Encoding) {
        self.waiting[caller.priority.index()].encodings.push(caller, [encoding]);
    }

    /// Drops a source that no sequence holds any more. A batch is abandoned with its last source.
    pub fn forget_source(&mut self, source: SourceSlot) {
        self.waiting.iter_mut().for_each(|waiting| waiting.sources.retain(|&queued| queued != source));
        self.batch.sources.retain(|&encoded| encoded != source);
        self.batch.clear_if_empty();
    }

    /// Drops an encoder request that was cancelled. If the current plan encodes it, its result comes all the same.
    pub fn forget_encoding(&mut self, call: CallId, id: RequestId) {
        let remove = |waiting: &mut LaneQueue| waiting.encodings.remove(&call, |waiting| waiting.id == id);
        let removed: usize = self.waiting.iter_mut().map(remove).sum();
        if removed == 0 && !self.is_planned() {
            self.batch.encodings.retain(|encoding| encoding.id != id);
            self.batch.clear_if_empty();
        }
    }

    /// The highest priority of what is in the encoder or waits for it; `None` without any work. What waits behind an
    /// idle batch has to wait for that.
    pub fn priority(&self) -> Option<Priority> {
        let of_batch = (!self.batch.is_empty()).then_some(self.batch.priority);
        self.first_waiting().into_iter().chain(of_batch).min()
    }

    /// The highest priority of what waits.
    fn first_waiting(&self) -> Option<Priority> {
        Priority::ALL.into_iter().find(|priority| !self.waiting[priority.index()].is_empty())
    }

    /// Whether the current plan has encode work of this lane.
    pub const fn is_planned(&self) -> bool {
        self.batch.parts_planned > self.batch.parts_done
    }

    /// Whether results come of the current plan.
    pub const fn gives_results(&self) -> bool {
        self.ends() && !self.batch.encodings.is_empty()
    }

    /// Whether the batch is encoded with the current plan.
    pub const fn ends(&self) -> bool {
        self.is_planned() && self.batch.parts_planned == self.batch.all_parts
    }

    /// The sources in the encoder.
    pub fn encoded_sources(&self) -> &[SourceSlot] {
        &self.batch.sources
    }

    /// The encoder requests in the encoder.
    pub fn encoded(&self) -> impl Iterator<Item = RequestId> {
        self.batch.encodings.iter().map(|encoding| encoding.id)
    }

    /// Number of encoder requests that wait.
    pub fn waiting(&self) -> usize {
        self.waiting.iter().map(|waiting| waiting.encodings.len()).sum()
    }

    /// Tokens of the batch.
    pub const fn batch_tokens(&self) -> usize {
        self.batch.tokens
    }

    /// Whether a batch is in the encoder.
    pub const fn is_begun(&self) -> bool {
        !self.batch.is_empty()
    }

    /// Whether sources of generations are in the encoder, or wait for it.
    pub fn has_sources(&self) -> bool {
        !self.batch.sources.is_empty() || self.waiting.iter().any(|waiting| !waiting.sources.is_empty())
    }

    /// Fills the empty batch: up to the budget, or one source however long it is. Returns the encoder requests that
    /// entered.
    pub fn gather(&mut self, mut budget: TokenBudget, sources: &SourceCache) -> &[Encoding] {
        while let Some(next) = self.next(budget, sources) {
            let Next { priority, tokens, is_encoding } = next;
            if !self.batch.is_empty() && tokens > budget.all {
                break;
            }
            let is_first = self.batch.is_empty();
            self.batch.priority = if is_first { priority } else { priority.min(self.batch.priority) };
            budget.all = budget.all.saturating_sub(tokens);
            self.batch.tokens += tokens;
            self.encoding_was_last = is_encoding;
            let waiting = &mut self.waiting[priority.index()];
            if is_encoding {
                budget.encodings = budget.encodings.saturating_sub(tokens);
                self.batch.encodings.extend(waiting.encodings.next(|_, _| true));
            } else {
                self.batch.sources.extend(waiting.sources.pop_front());
            }
        }
        &self.batch.encodings
    }

    /// Number of sources in the encoder, those of encoder requests included.
    pub const fn batch_len(&self) -> usize {
        self.batch.sources.len() + self.batch.encodings.len()
    }

    /// Plans at most `most` parts more of the batch, of `all_parts`.
    pub fn plan(&mut self, most: usize, all_parts: usize, placed: PlacedSources<'_>, work: &mut EncodeWork) {
        if self.batch.is_empty() {
            return;
        }
        self.batch.all_parts = all_parts;
        self.batch.parts_planned = all_parts.min(self.batch.parts_done.saturating_add(most));
        let planned: Range<usize> = self.batch.parts_done..self.batch.parts_planned;
        work.is_last = planned.end == all_parts;
        (work.parts, work.all_parts) = (planned, all_parts);
        for &slot in &self.batch.sources {
            let source = placed.sources.get(slot);
            work.push(&source.key().ids);
            if work.is_last {
                let first = placed.pool.list(source.pages(), &mut work.tables);
                work.cross_spans.push(PageSpan { first, tokens: narrow(source.key().tokens()) });
            }
        }
        for encoding in &self.batch.encodings {
            work.push(&encoding.asked.source);
            if work.is_last {
                work.readouts.push(encoding.asked.readout);
            }
        }
    }

    /// Counts the planned parts as run. After the last, the sources of the batch are ready, and its encoder requests
    /// are appended to `finished`. Before that, those that are no longer `wanted` are dropped.
    pub fn commit(
        &mut self,
        sources: &mut SourceCache,
        finished: &mut Vec<RequestId>,
        wanted: impl Fn(RequestId) -> bool,
    ) {
        if !self.is_planned() {
            return;
        }
        let batch = &mut self.batch;
        batch.parts_done = batch.parts_planned;
        if batch.parts_done == batch.all_parts {
            for &source in &batch.sources {
                sources.get_mut(source).mark_ready();
            }
            finished.extend(batch.encodings.iter().map(|encoding| encoding.id));
            batch.clear();
        } else {
            batch.encodings.retain(|encoding| wanted(encoding.id));
            batch.clear_if_empty();
        }
    }

    /// Drops the encoder requests of a batch whose step failed.
    pub fn fail(&mut self) {
        self.batch.encodings.clear();
        self.batch.clear_if_empty();
    }

    /// The next source to enter. Encoder requests that have used up their tokens wait for another batch.
    fn next(&self, budget: TokenBudget, sources: &SourceCache) -> Option<Next> {
        let priority = self.first_waiting()?;
        let waiting = &self.waiting[priority.index()];
        let tokens_of = |&slot| sources.get(slot).key().tokens();
        let source = waiting.sources.front().map(tokens_of);
        let source = source.map(|tokens| Next { priority, tokens, is_encoding: false });
        let fits = |tokens: &usize| self.batch.is_empty() || *tokens <= budget.encodings;
        let encoding = waiting.encodings.peek().map(|encoding| encoding.asked.tokens()).filter(fits);
        let encoding = encoding.map(|tokens| Next { priority, tokens, is_encoding: true });
        if self.encoding_was_last { source.or(encoding) } else { encoding.or(source) }
    }
}

impl Batch {
    const fn is_empty(&self) -> bool {
        self.sources.is_empty() && self.encodings.is_empty()
    }

    fn clear_if_empty(&mut self) {
        if self.is_empty() {
            self.clear();
        }
    }

    fn clear(&mut self) {
        self.sources.clear();
        self.encodings.clear();
        (self.tokens, self.all_parts, self.parts_done, self.parts_planned) = (0, 0, 0, 0);
    }
}
