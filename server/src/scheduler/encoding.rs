//! The encoder's queue and the one batch that is under way.
//!
//! Called by `memory`. A bidirectional source cannot be split by tokens, so a batch pauses between layers.

use std::collections::VecDeque;
use std::sync::Arc;

use kernels::{PageSpan, Segment};

use super::SchedulerLimits;
use super::plan::{Plan, narrow};
use super::source::{SourceSlot, Sources, Stage};

/// A source's place in the batch. It stays when the source is dropped: the rows of a batch do not move.
#[derive(Debug)]
struct Place {
    source: Option<SourceSlot>,
    ids: Arc<[u32]>,
}

/// Sources on their way through the encoder.
#[derive(Debug, Default)]
pub struct Encoding {
    queue: VecDeque<SourceSlot>,
    batch: Vec<Place>,
    batch_tokens: usize,
    layers_done: usize,
    /// Layers done once the current plan is committed.
    layers_planned: usize,
    runs: u64,
}

impl Encoding {
    /// Queues a source whose pages are there.
    pub fn push(&mut self, source: SourceSlot) {
        self.queue.push_back(source);
    }

    /// Drops a source that was removed. A batch in which nobody is interested any more is dropped as a whole.
    pub fn forget(&mut self, source: SourceSlot) {
        self.queue.retain(|&queued| queued != source);
        for place in &mut self.batch {
            if place.source == Some(source) {
                place.source = None;
            }
        }
        if self.batch.iter().all(|place| place.source.is_none()) {
            self.clear_batch();
        }
    }

    /// Sources put through the encoder since the start.
    pub const fn runs(&self) -> u64 {
        self.runs
    }

    /// The sources of the batch that is under way.
    pub fn batch(&self) -> impl Iterator<Item = SourceSlot> {
        self.batch.iter().filter_map(|place| place.source)
    }

    /// Whether the current plan has encoder work.
    pub const fn is_planned(&self) -> bool {
        self.layers_planned > self.layers_done
    }

    /// Writes the encoder's part of a step. `decoding`: streams wait for this step's end.
    pub fn plan(&mut self, sources: &mut Sources, limits: &SchedulerLimits, step: &StepFacts, plan: &mut Plan) {
        if self.batch.is_empty() {
            self.gather(sources, limits.step_encoder_tokens);
        }
        if self.batch.is_empty() {
            return;
        }
        let layers_left = limits.encoder_layers - self.layers_done;
        let layers = if step.decoding {
            let affordable =
                limits.step_encoder_tokens.saturating_mul(limits.encoder_layers) / self.batch_tokens.max(1);
            affordable.clamp(1, layers_left)
        } else {
            layers_left
        };
        self.layers_planned = self.layers_done + layers;
        plan.encode.layers = self.layers_done..self.layers_planned;
        plan.encode.is_last = self.layers_planned == limits.encoder_layers;
        self.write_batch(sources, step.number, plan);
    }

    /// The planned layers were run.
    pub fn commit(&mut self, sources: &mut Sources, encoder_layers: usize) {
        if !self.is_planned() {
            return;
        }
        self.layers_done = self.layers_planned;
        if self.layers_done == encoder_layers {
            for source in self.batch() {
                sources.set_stage(source, Stage::Ready);
            }
            self.clear_batch();
        }
    }

    /// Takes sources from the queue's front up to `budget` tokens, and one however long it is.
    fn gather(&mut self, sources: &mut Sources, budget: usize) {
        while let Some(&slot) = self.queue.front() {
            let ids = sources.get(slot).key().ids();
            if !self.batch.is_empty() && self.batch_tokens + ids.len() > budget {
                break;
            }
            self.batch_tokens += ids.len();
            self.batch.push(Place { source: Some(slot), ids: Arc::clone(ids) });
            sources.set_stage(slot, Stage::Encoding);
            self.queue.pop_front();
            self.runs += 1;
        }
    }

    fn write_batch(&self, sources: &mut Sources, step: u64, plan: &mut Plan) {
        let Plan { encode, tables, .. } = plan;
        for place in &self.batch {
            let start = narrow(encode.tokens.len());
            let len = narrow(place.ids.len());
            encode.tokens.extend_from_slice(&place.ids);
            encode.positions.extend(0..len);
            encode.segments.push(Segment { start, len });
            if encode.is_last {
                encode.cross_spans.push(match place.source {
                    Some(slot) => PageSpan { first: sources.get_mut(slot).list_pages(step, tables), tokens: len },
                    None => PageSpan::default(),
                });
            }
        }
    }

    fn clear_batch(&mut self) {
        self.batch.clear();
        self.batch_tokens = 0;
        self.layers_done = 0;
        self.layers_planned = 0;
    }
}

/// What the encoder's part depends on.
#[derive(Debug, Clone, Copy)]
pub struct StepFacts {
    /// Number of the step.
    pub number: u64,
    /// Decoder rows run in the same step, so that streams wait for its end.
    pub decoding: bool,
}
