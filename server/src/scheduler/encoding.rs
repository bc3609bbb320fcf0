//! The encoder's queue and the one batch that is under way.
//!
//! Called by `memory`. A bidirectional source cannot be split by tokens, so a long one pauses between layers.
//! Several sources together keep to the budget of one step and never pause: a paused batch is one source.

use std::collections::VecDeque;

use kernels::{PageSpan, Segment};

use super::SchedulerLimits;
use super::plan::{Plan, narrow};
use super::source::{SourceSlot, Sources};

/// Sources on their way through the encoder.
#[derive(Debug, Default)]
pub struct Encoding {
    queue: VecDeque<SourceSlot>,
    batch: Vec<SourceSlot>,
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

    /// Drops a source that was removed; with the last of a batch, the batch. What is under way with it is of no use to anybody.
    pub fn forget(&mut self, source: SourceSlot) {
        self.queue.retain(|&queued| queued != source);
        self.batch.retain(|&encoded| encoded != source);
        if self.batch.is_empty() {
            self.clear_batch();
        }
    }

    /// Sources put through the encoder since the start.
    pub const fn runs(&self) -> u64 {
        self.runs
    }

    /// The sources of the batch that is under way.
    pub fn batch(&self) -> &[SourceSlot] {
        &self.batch
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
            for &source in &self.batch {
                sources.mark_ready(source);
            }
            self.clear_batch();
        }
    }

    /// Takes sources from the queue's front up to `budget` tokens, and one however long it is.
    fn gather(&mut self, sources: &Sources, budget: usize) {
        while let Some(&slot) = self.queue.front() {
            let tokens = sources.get(slot).key().tokens();
            if !self.batch.is_empty() && self.batch_tokens + tokens > budget {
                break;
            }
            self.batch_tokens += tokens;
            self.batch.push(slot);
            self.queue.pop_front();
            self.runs += 1;
        }
    }

    fn write_batch(&self, sources: &mut Sources, step: u64, plan: &mut Plan) {
        let Plan { encode, tables, .. } = plan;
        for &slot in &self.batch {
            let source = sources.get_mut(slot);
            let start = narrow(encode.tokens.len());
            let len = narrow(source.key().tokens());
            encode.tokens.extend_from_slice(source.key().ids());
            encode.positions.extend(0..len);
            encode.segments.push(Segment { start, len });
            if encode.is_last {
                encode.cross_spans.push(PageSpan { first: source.list_pages(step, tables), tokens: len });
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
