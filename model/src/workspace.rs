//! The working memory of a model: every activation buffer, allocated once for the largest batch.
//!
//! Made by [`crate::Model::workspace`], written by the layers and the output.

use kernels::{Backend, PageSpan};

use crate::config::ModelConfig;
use crate::encoder_space::{EncoderSpace, LaneRows};
use crate::error::Result;
use crate::layers::{BufferShape, CrossSpace, DecoderSpace, StackSpace};

/// Most rows of each kind that one step holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkspaceLimits {
    /// Source tokens of the encoder batch in each lane.
    pub lane_rows: LaneRows,
    /// Decoder rows of one step.
    pub target_rows: usize,
    /// Rows whose logits are wanted in one step.
    pub logits_rows: usize,
}

impl WorkspaceLimits {
    /// Source tokens of the largest encoder batch.
    fn source_rows(&self) -> usize {
        self.lane_rows.into_iter().max().unwrap_or_default()
    }
}

/// Working memory of a model.
pub struct Workspace<B: Backend> {
    pub(crate) encoder: EncoderSpace<B>,
    pub(crate) decoder: DecoderSpace<B>,
    pub(crate) cross: CrossSpace<B>,
    /// `[logits_rows, hidden]`: the decoder's output where logits are wanted.
    pub(crate) selected: B::Activations,
    /// `[logits_rows, vocab]`.
    pub(crate) logits: B::Activations,
    pub(crate) limits: WorkspaceLimits,
}

impl<B: Backend> Workspace<B> {
    pub(crate) fn new(backend: &B, config: &ModelConfig, limits: WorkspaceLimits) -> Result<Self> {
        let [kv, cross_q, selected, logits] = shapes(config, limits).map(|shape| shape.allocate(backend));
        let decoder = StackSpace::new(backend, &config.decoder, limits.target_rows)?;
        Ok(Self {
            encoder: EncoderSpace::new(backend, &config.encoder, limits.lane_rows)?,
            decoder: DecoderSpace { stack: decoder, cross_q: cross_q? },
            cross: CrossSpace { kv: kv?, ends: Vec::with_capacity(limits.source_rows()) },
            selected: selected?,
            logits: logits?,
            limits,
        })
    }

    /// Bytes of a workspace once all of it is used.
    pub(crate) fn bytes(backend: &B, config: &ModelConfig, limits: WorkspaceLimits) -> usize {
        let encoder = EncoderSpace::bytes(backend, &config.encoder, limits.lane_rows);
        let decoder = StackSpace::shapes(backend, &config.decoder, limits.target_rows);
        let buffers = decoder.into_iter().chain(shapes(config, limits)).map(|shape| shape.bytes(backend));
        encoder + buffers.sum::<usize>() + limits.source_rows() * size_of::<PageSpan>()
    }
}

/// The buffers of a workspace beside those of its stacks.
fn shapes(config: &ModelConfig, limits: WorkspaceLimits) -> [BufferShape; 4] {
    let decoder = &config.decoder;
    [
        BufferShape::new(limits.source_rows(), 2 * decoder.kv_width()),
        BufferShape::new(limits.target_rows, decoder.query_width()),
        BufferShape::new(limits.logits_rows, decoder.hidden),
        BufferShape::wide(limits.logits_rows, decoder.vocab),
    ]
}

#[cfg(test)]
mod tests {
    use kernels::Stream;
    use kernels::cpu::{Cpu, Isa};

    use super::*;
    use crate::shapes::shape;

    #[test]
    fn the_bytes_of_a_workspace_are_those_of_its_buffers() {
        let (backend, config) = (Cpu::new(Isa::detect(), 1), shape("s-s").unwrap());
        let limits = WorkspaceLimits { lane_rows: [300, 1000], target_rows: 128, logits_rows: 64 };
        // A row has the residual stream, input and output; queries, keys and values; and the output of attention.
        let row = 3 * 512 + 3 * 512 + 512;
        let encoder = 1300 * row + (300 + backend.rows_at_once()) * 3 * 1024;
        let decoder = 128 * row + 128 * 3 * 1024;
        let rest = 1000 * 2 * 512 + 128 * 512 + 64 * 512 + 64 * 256_000;
        let spans = 1000 * size_of::<PageSpan>();
        assert_eq!(Workspace::bytes(&backend, &config, limits), 4 * (encoder + decoder + rest) + spans);
    }
}
