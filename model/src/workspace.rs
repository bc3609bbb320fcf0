//! Every activation buffer, allocated once for the largest batch.
//!
//! Made by [`crate::Model::workspace`], written by the layer functions. No step allocates. Memory is taken from
//! the system as rows are first used, so a large limit costs nothing until a request needs it.

use kernels::{Backend, DType, LinearRows, PageSpan, Sandwich};

use crate::config::{ModelConfig, StackConfig};
use crate::decoder::DrawnTokens;
use crate::error::Result;
use crate::weights::{FeedForward, Stack};

/// Numbers that must not be rounded are kept so.
const WIDE_BYTES: usize = DType::F32.bytes();

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

/// Rows and width of a buffer.
#[derive(Clone, Copy)]
struct Shape {
    rows: usize,
    width: usize,
    /// Its numbers must not be rounded.
    is_wide: bool,
}

impl Shape {
    const fn new(rows: usize, width: usize) -> Self {
        Self { rows, width, is_wide: false }
    }

    const fn wide(rows: usize, width: usize) -> Self {
        Self { rows, width, is_wide: true }
    }

    fn allocate<B: Backend>(self, backend: &B) -> kernels::Result<B::Activations> {
        match self.is_wide {
            false => backend.activations(self.rows, self.width),
            true => backend.wide_activations(self.rows, self.width),
        }
    }

    fn bytes<B: Backend>(self, backend: &B) -> usize {
        self.rows * self.width * if self.is_wide { WIDE_BYTES } else { backend.number_bytes() }
    }
}

/// The buffers of a workspace beside those of its stacks.
fn shapes(config: &ModelConfig, limits: WorkspaceLimits) -> [Shape; 4] {
    let decoder = &config.decoder;
    [
        Shape::new(limits.source_rows, 2 * decoder.kv_width()),
        Shape::new(limits.target_rows, decoder.query_width()),
        Shape::new(limits.logits_rows, decoder.hidden),
        Shape::wide(limits.logits_rows, decoder.vocab),
    ]
}

/// The buffers of a stack, in the order of [`StackSpace`].
fn stack_shapes(config: &StackConfig, rows: usize, block: usize) -> [Shape; 7] {
    [
        Shape::wide(rows, config.hidden),
        Shape::new(rows, config.hidden),
        Shape::new(rows, config.query_width() + 2 * config.kv_width()),
        Shape::new(rows, config.query_width()),
        Shape::new(rows, config.hidden),
        Shape::new(block, 2 * config.intermediate),
        Shape::new(block, config.intermediate),
    ]
}

fn block_rows<B: Backend>(backend: &B, rows: usize) -> usize {
    rows.min(backend.rows_at_once()).max(1)
}

/// Bytes of a workspace.
pub(crate) fn workspace_bytes<B: Backend>(backend: &B, config: &ModelConfig, limits: WorkspaceLimits) -> usize {
    let stack = |config, rows| stack_shapes(config, rows, block_rows(backend, rows));
    let stacks = [stack(&config.encoder, limits.source_rows), stack(&config.decoder, limits.target_rows)];
    let buffers = stacks.into_iter().flatten().chain(shapes(config, limits));
    buffers.map(|shape| shape.bytes(backend)).sum::<usize>() + limits.source_rows * size_of::<PageSpan>()
}

impl<B: Backend> Workspace<B> {
    pub(crate) fn new(backend: &B, config: &ModelConfig, limits: WorkspaceLimits) -> Result<Self> {
        let [cross_kv, cross_q, selected, logits] = shapes(config, limits).map(|shape| shape.allocate(backend));
        Ok(Self {
            encoder: StackSpace::new(backend, &config.encoder, limits.source_rows)?,
            decoder: StackSpace::new(backend, &config.decoder, limits.target_rows)?,
            cross_kv: cross_kv?,
            cross_ends: Vec::with_capacity(limits.source_rows),
            cross_q: cross_q?,
            selected: selected?,
            logits: logits?,
            limits,
        })
    }
}

impl<B: Backend> StackSpace<B> {
    pub fn new(backend: &B, config: &StackConfig, rows: usize) -> Result<Self> {
        let block = block_rows(backend, rows);
        let [residual, x, qkv, attended, y, gate_up, gated] =
            stack_shapes(config, rows, block).map(|shape| shape.allocate(backend));
        let (gate_up, gated) = (gate_up?, gated?);
        Ok(Self { residual: residual?, x: x?, qkv: qkv?, attended: attended?, y: y?, gate_up, gated, block })
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

#[cfg(test)]
mod tests {
    use kernels::cpu::{Cpu, Isa};

    use super::*;
    use crate::shapes::shape;

    #[test]
    fn the_bytes_of_a_workspace_are_those_of_its_buffers() {
        let (backend, config) = (Cpu::new(Isa::detect(), 1), shape("s-s").unwrap());
        let limits = WorkspaceLimits { source_rows: 1000, target_rows: 128, logits_rows: 64 };
        // Of each row: residual, input and output, queries with keys and values, and what attention gives.
        let row = 3 * 512 + 3 * 512 + 512;
        let encoder = 1000 * row + backend.rows_at_once() * 3 * 1024;
        let decoder = 128 * row + 128 * 3 * 1024;
        let rest = 1000 * 2 * 512 + 128 * 512 + 64 * 512 + 64 * 256_000;
        let spans = 1000 * size_of::<PageSpan>();
        assert_eq!(workspace_bytes(&backend, &config, limits), 4 * (encoder + decoder + rest) + spans);
    }
}
