//! The encoder's queue: two lanes, whose batches take turns step by step; one that has idle work only has its turns
//! when the other has no interactive work.
//!
//! Called by `memory`. The encoder is bidirectional, so a source cannot be split by tokens; a long one pauses between
//! layers instead, or within layers where these take too long, and keeps its activations in a lane of its own. Short
//! sources pass it there. A batch of several sources keeps to the budget of one step. Encoder requests have a part of
//! it while target rows run.

use std::collections::HashMap;

use model::{EncoderCost, LayerParts};

use super::encoder_lane::{EncoderLane, Encoding, PlacedSources, TokenBudget};
use super::event::Event;
use super::limits::SchedulerLimits;
use super::plan::{EncodeWork, Lane};
use super::source::SourceSlot;
use super::source_cache::SourceCache;
use crate::request::{CallId, Caller, EncodeRequest, Priority, RequestId};

/// Part of a step's tokens that encoder requests get while target rows run. Rows wait for the whole step, and encoder
/// requests may come without end: with a quarter of the default, streams of the s-s shape on two cores wait about a
/// twentieth of a second longer for a token, which is about the time of a step of 32 rows.
const SHARE_BESIDE_ROWS: usize = 4;

/// Sources that are still to be encoded, for sequences or for encoder requests.
#[derive(Debug)]
pub struct EncoderQueue {
    lanes: [EncoderLane; Lane::ALL.len()],
    /// The lane of the latest plan with encode work.
    last: Lane,
    /// Encoder requests that are not over.
    open: HashMap<RequestId, OpenEncoding>,
    /// Encoder requests whose results the last commit brought, in the order of the plan. Some may be over.
    finished: Vec<RequestId>,
    /// Sources of sequences that became ready since they were last taken.
    ready: Vec<SourceSlot>,
    /// Cost of rows, by which long sources are divided.
    cost: EncoderCost,
    /// Tokens that go through all layers in one step.
    step_tokens: usize,
    runs: u64,
}

#[derive(Debug, Clone, Copy)]
struct OpenEncoding {
    call: CallId,
    lane: Lane,
}

impl EncoderQueue {
    /// An empty queue.
    pub fn new(limits: &SchedulerLimits) -> Self {
        Self {
            lanes: Default::default(),
            last: Lane::Long,
            open: HashMap::new(),
            finished: Vec::new(),
            ready: Vec::new(),
            cost: limits.encoder,
            step_tokens: limits.step_encoder_tokens,
            runs: 0,
        }
    }

    /// Queues a source of so many tokens that has its pages.
    pub fn push(&mut self, source: SourceSlot, tokens: usize, priority: Priority) {
        let lane = self.lane_of(tokens);
        self.lanes[lane.index()].push_source(source, priority);
    }

    /// Lets a source that waits be encoded as an interactive one.
    pub fn promote(&mut self, source: SourceSlot) {
        self.lanes.iter_mut().for_each(|lane| lane.promote(source));
    }

    /// Queues an encoder request of a call.
    pub fn submit(&mut self, id: RequestId, caller: &Caller, asked: EncodeRequest) {
        let lane = self.lane_of(asked.tokens());
        self.open.insert(id, OpenEncoding { call: caller.call, lane });
        self.lanes[lane.index()].push_encoding(caller, Encoding { id, asked });
    }

    /// Drops a source that no sequence holds any more. A batch is abandoned with its last source.
    pub fn forget(&mut self, source: SourceSlot) {
        self.lanes.iter_mut().for_each(|lane| lane.forget_source(source));
    }

    /// Ends an encoder request: no event of it follows. Unknown ones are ignored.
    pub fn cancel(&mut self, id: RequestId) {
        if let Some(OpenEncoding { call, lane }) = self.open.remove(&id) {
            self.lanes[lane.index()].forget_encoding(call, id);
        }
    }

    /// Number of sources that have entered the encoder since the start.
    pub const fn runs(&self) -> u64 {
        self.runs
    }

    /// Number of encoder requests that are not over.
    pub fn open_encodings(&self) -> usize {
        self.open.len()
    }

    /// Number of encoder requests that have not entered the encoder.
    pub fn waiting_encodings(&self) -> usize {
        self.lanes.iter().map(EncoderLane::waiting).sum()
    }

    /// Number of encoder requests that are not over, counted where they wait or are encoded.
    pub fn walk_encodings(&self) -> usize {
        let encoded = self.lanes.iter().flat_map(EncoderLane::encoded);
        self.waiting_encodings() + encoded.filter(|id| self.open.contains_key(id)).count()
    }

    /// Whether results for encoder requests come of the current plan.
    pub fn gives_results(&self) -> bool {
        self.lanes.iter().any(EncoderLane::gives_results)
    }

    /// Plans as many layers, or one part of a layer, of one batch as a step with so many target rows may run, and
    /// announces the encoder requests that enter the encoder. Lanes with work of the same priority take turns.
    pub fn plan(&mut self, placed: PlacedSources<'_>, rows: usize, work: &mut EncodeWork, announced: &mut Vec<Event>) {
        let Some(lane) = self.next_lane() else { return };
        let share = if rows == 0 { 1 } else { SHARE_BESIDE_ROWS };
        let budget = TokenBudget { all: self.step_tokens, encodings: (self.step_tokens / share).max(1) };
        (self.last, work.lane) = (lane, lane);
        let lane = &mut self.lanes[lane.index()];
        if !lane.is_begun() {
            let entered = lane.gather(budget, placed.sources);
            announced.extend(entered.iter().map(|encoding| Event::Started { request: encoding.id, cached_tokens: 0 }));
            self.runs += lane.batch_len() as u64;
        }
        let tokens = if lane.has_sources() { budget.all } else { budget.encodings };
        work.of_layer = self.cost.parts_of_layer(lane.batch_tokens(), self.step_tokens);
        let whole_layers = tokens.saturating_mul(self.cost.layers) / lane.batch_tokens().max(1);
        let affordable = if work.of_layer == LayerParts::WHOLE { whole_layers.max(1) } else { 1 };
        lane.plan(affordable, self.cost.all_parts(work.of_layer), placed, work);
    }

    /// Counts the planned parts as run. After the last the sources of the batch are ready.
    pub fn commit(&mut self, sources: &mut SourceCache) {
        let Self { lanes, open, finished, ready, .. } = self;
        for lane in lanes {
            if lane.ends() {
                ready.extend_from_slice(lane.encoded_sources());
            }
            lane.commit(sources, finished, |id| open.contains_key(&id));
        }
    }

    /// Takes the sources that became ready.
    pub fn take_ready(&mut self) -> Vec<SourceSlot> {
        std::mem::take(&mut self.ready)
    }

    /// Ends the encoder requests whose results the last commit brought, and appends their events.
    pub fn deliver(&mut self, events: &mut Vec<Event>) {
        let Self { open, finished, .. } = self;
        for (result, request) in (0..).zip(finished.drain(..)) {
            if open.remove(&request).is_some() {
                events.push(Event::Encoded { request, result });
            }
        }
    }

    /// The current plan failed. Ends the encoder requests of its batch and appends them to `failed`; returns the
    /// sources of the batch.
    pub fn fail(&mut self, failed: &mut Vec<RequestId>) -> Vec<SourceSlot> {
        let Some(lane) = self.lanes.iter_mut().find(|lane| lane.is_planned()) else { return Vec::new() };
        let open = &mut self.open;
        failed.extend(lane.encoded().filter(|id| open.remove(id).is_some()));
        let sources = lane.encoded_sources().to_vec();
        lane.fail();
        sources
    }

    const fn lane_of(&self, tokens: usize) -> Lane {
        if tokens > self.step_tokens { Lane::Long } else { Lane::Short }
    }

    /// The lane that is not the last one's, unless only the last one has work, or work that is not idle.
    fn next_lane(&self) -> Option<Lane> {
        let priority = |lane: Lane| self.lanes[lane.index()].priority();
        let with_work = Lane::ALL.into_iter().filter_map(|lane| Some((priority(lane)?, lane == self.last, lane)));
        with_work.min_by_key(|&(priority, is_last, _)| (priority, is_last)).map(|(_, _, lane)| lane)
    }
}
