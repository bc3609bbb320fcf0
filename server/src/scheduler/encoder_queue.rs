//! The encoder's queue, and the one batch that is in the encoder.
//!
//! Called by `memory`. The encoder is bidirectional, so a source cannot be split by tokens; a long one pauses between
//! layers instead. A batch of several sources keeps to the budget of one step and never pauses.

use std::collections::VecDeque;

use kernels::{PageSpan, Segment};

use super::limits::SchedulerLimits;
use super::plan::{EncodeWork, list_pages, narrow};
use super::source::SourceSlot;
use super::source_cache::SourceCache;

/// Sources that are still to be encoded.
#[derive(Debug)]
pub struct EncoderQueue {
    queue: VecDeque<SourceSlot>,
    batch: Vec<SourceSlot>,
    batch_tokens: usize,
    /// Layers that were run for the batch.
    layers_done: usize,
    /// Layers that will have been run for the batch once the current plan is committed.
    layers_planned: usize,
    /// Layers of the encoder.
    layers: usize,
    /// Tokens that go through all layers in one step while target rows are decoded.
    step_tokens: usize,
    runs: u64,
}

impl EncoderQueue {
    /// An empty queue.
    pub const fn new(limits: &SchedulerLimits) -> Self {
        Self {
            queue: VecDeque::new(),
            batch: Vec::new(),
            batch_tokens: 0,
            layers_done: 0,
            layers_planned: 0,
            layers: limits.encoder_layers,
            step_tokens: limits.step_encoder_tokens,
            runs: 0,
        }
    }

    /// Queues a source that has its pages.
    pub fn push(&mut self, source: SourceSlot) {
        self.queue.push_back(source);
    }

    /// Drops a source that no sequence holds any more. A batch is abandoned with its last source.
    pub fn forget(&mut self, source: SourceSlot) {
        self.queue.retain(|&queued| queued != source);
        self.batch.retain(|&encoded| encoded != source);
        if self.batch.is_empty() {
            self.clear_batch();
        }
    }

    /// Number of sources that have entered the encoder since the start.
    pub const fn runs(&self) -> u64 {
        self.runs
    }

    /// The sources in the encoder.
    pub fn batch(&self) -> &[SourceSlot] {
        &self.batch
    }

    /// Whether the current plan has encode work.
    pub const fn is_planned(&self) -> bool {
        self.layers_planned > self.layers_done
    }

    /// Plans as many layers as a step may run while target rows wait for its end.
    pub fn plan_beside_rows(&mut self, sources: &SourceCache, work: &mut EncodeWork) {
        self.gather(sources);
        let affordable = self.step_tokens.saturating_mul(self.layers) / self.batch_tokens.max(1);
        self.plan_layers(affordable.max(1), sources, work);
    }

    /// Plans all layers that are left; no target row waits for them.
    pub fn plan_alone(&mut self, sources: &SourceCache, work: &mut EncodeWork) {
        self.gather(sources);
        self.plan_layers(self.layers, sources, work);
    }

    /// Counts the planned layers as run. After the last layer the sources of the batch are ready.
    pub fn commit(&mut self, sources: &mut SourceCache) {
        if !self.is_planned() {
            return;
        }
        self.layers_done = self.layers_planned;
        if self.layers_done == self.layers {
            for &source in &self.batch {
                sources.get_mut(source).mark_ready();
            }
            self.clear_batch();
        }
    }

    /// Fills an empty batch from the queue's front: up to the tokens of a step, or one source however long it is.
    fn gather(&mut self, sources: &SourceCache) {
        if !self.batch.is_empty() {
            return;
        }
        while let Some(&slot) = self.queue.front() {
            let tokens = sources.get(slot).key().tokens();
            if !self.batch.is_empty() && self.batch_tokens + tokens > self.step_tokens {
                break;
            }
            self.batch_tokens += tokens;
            self.batch.push(slot);
            self.queue.pop_front();
            self.runs += 1;
        }
    }

    fn plan_layers(&mut self, most: usize, sources: &SourceCache, work: &mut EncodeWork) {
        if self.batch.is_empty() {
            return;
        }
        self.layers_planned = self.layers.min(self.layers_done.saturating_add(most));
        work.layers = self.layers_done..self.layers_planned;
        work.is_last = self.layers_planned == self.layers;
        for &slot in &self.batch {
            let source = sources.get(slot);
            let start = narrow(work.tokens.len());
            let len = narrow(source.key().tokens());
            work.tokens.extend_from_slice(&source.key().ids);
            work.positions.extend(0..len);
            work.segments.push(Segment { start, len });
            if work.is_last {
                work.cross_spans.push(PageSpan { first: list_pages(source.pages(), &mut work.tables), tokens: len });
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
