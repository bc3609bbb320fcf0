//! Every activation buffer, allocated once for the largest batch.
//!
//! Made by [`crate::Model::workspace`], written by the layer functions. No step allocates. Memory is taken from
//! the system as rows are first used, so a large limit costs nothing until a request needs it.

use kernels::{Backend, LinearRows, PageSpan, Sandwich};

use crate::config::{ModelConfig, StackConfig};
use crate::decoder::DrawnTokens;
use crate::error::Result;
use crate::weights::{FeedForward, Stack};

/// Most rows of each kind that one step holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkspaceLimits {
    /// Source tokens of one encoder batch.
    pub source_rows: usize,
    /// Decoder rows of one step.
    pub target_rows: usize,
    /// Rows whose logits are wanted in one step.
    pub logits_rows: usize,
}

/// Working memory of a model.
pub struct Workspace<B: Backend> {
    pub(crate) encoder: StackSpace<B>,
    pub(crate) decoder: StackSpace<B>,
    /// `[source_rows, 2 * kv_width]`: one decoder layer's cross K and V.
    pub(crate) cross_kv: B::Activations,
    /// One span for each source row: where its cross K and V go.
    pub(crate) cross_ends: Vec<PageSpan>,
    /// `[target_rows, query_width]`: cross-attention's queries.
    pub(crate) cross_q: B::Activations,
    /// `[logits_rows, hidden]`: the decoder's output where logits are wanted.
    pub(crate) selected: B::Activations,
    /// `[logits_rows, vocab]`.
    pub(crate) logits: B::Activations,
    pub(crate) limits: WorkspaceLimits,
}

/// Buffers of one stack, `[rows, ..]`.
pub(crate) struct StackSpace<B: Backend> {
    /// `hidden`: the residual stream.
    pub residual: B::Activations,
    /// `hidden`: the normed input of the next sub-layer; at the end, the stack's output.
    pub x: B::Activations,
    /// `query_width + 2 * kv_width`.
    pub qkv: B::Activations,
    /// `query_width`: what attention gives, before its output projection.
    pub attended: B::Activations,
    /// `hidden`: a sub-layer's output, before its norm.
    pub y: B::Activations,
    /// `[block, 2 * intermediate]`.
    gate_up: B::Activations,
    /// `[block, intermediate]`.
    gated: B::Activations,
    /// Rows that the feed-forward takes at once: its inner rows are wide.
    block: usize,
}

impl<B: Backend> Workspace<B> {
    pub(crate) fn new(backend: &B, config: &ModelConfig, limits: WorkspaceLimits) -> Result<Self> {
        let decoder = &config.decoder;
        Ok(Self {
            encoder: StackSpace::new(backend, &config.encoder, limits.source_rows)?,
            decoder: StackSpace::new(backend, decoder, limits.target_rows)?,
            cross_kv: backend.activations(limits.source_rows, 2 * decoder.kv_width())?,
            cross_ends: Vec::with_capacity(limits.source_rows),
            cross_q: backend.activations(limits.target_rows, decoder.query_width())?,
            selected: backend.activations(limits.logits_rows, decoder.hidden)?,
            logits: backend.wide_activations(limits.logits_rows, decoder.vocab)?,
            limits,
        })
    }
}

impl<B: Backend> StackSpace<B> {
    pub fn new(backend: &B, config: &StackConfig, rows: usize) -> Result<Self> {
        let block = rows.min(backend.rows_at_once()).max(1);
        Ok(Self {
            residual: backend.wide_activations(rows, config.hidden)?,
            x: backend.activations(rows, config.hidden)?,
            qkv: backend.activations(rows, config.query_width() + 2 * config.kv_width())?,
            attended: backend.activations(rows, config.query_width())?,
            y: backend.activations(rows, config.hidden)?,
            gate_up: backend.activations(block, 2 * config.intermediate)?,
            gated: backend.activations(block, config.intermediate)?,
            block,
        })
    }

    /// `residual = embeddings * scale; x = pre(residual)`: what stands before the first layer.
    pub fn embed<Layer>(
        &mut self,
        backend: &B,
        stack: &Stack<B, Layer>,
        (tokens, drawn): (&[u32], Option<DrawnTokens<'_, B>>),
        pre: &B::Gain,
    ) {
        backend.embed(&stack.table, tokens, stack.embedding_scale, &mut self.residual);
        if let Some(drawn) = drawn {
            backend.embed_drawn(&stack.table, drawn, stack.embedding_scale, &mut self.residual);
        }
        backend.rms_norm(&self.residual, pre, stack.eps, tokens.len(), &mut self.x);
    }

    /// `residual += post(y); x = pre(residual)`: what stands between two sub-layers.
    pub fn seam(&mut self, backend: &B, gains: Sandwich<'_, B::Gain>, rows: usize) {
        backend.sandwich(&mut self.residual, &self.y, gains, rows, &mut self.x);
    }

    /// `y = down(gelu(gate(x)) * up(x))`.
    pub fn feed_forward(&mut self, backend: &B, weights: &FeedForward<B>, rows: usize) {
        for start in (0..rows).step_by(self.block) {
            let count = self.block.min(rows - start);
            let read = LinearRows { from: start, to: 0, count };
            backend.linear_geglu(&self.x, &weights.gate_up, read, (&mut self.gate_up, &mut self.gated));
            let write = LinearRows { from: 0, to: start, count };
            backend.linear(&self.gated, &weights.down, write, &mut self.y);
        }
    }
}
