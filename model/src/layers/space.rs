//! The buffers that layers compute in.
//!
//! Allocated once by a workspace for the largest batch; no step allocates. A backend takes memory from the system as
//! rows are first used, so a large limit costs nothing until a request needs it.

use kernels::{Backend, DType, PageSpan};

use crate::config::StackConfig;
use crate::error::Result;

/// Rows and width of a buffer.
#[derive(Clone, Copy)]
pub(crate) struct BufferShape {
    rows: usize,
    width: usize,
    /// Whether its numbers are float32 whatever the backend computes in.
    is_wide: bool,
}

impl BufferShape {
    pub const fn new(rows: usize, width: usize) -> Self {
        Self { rows, width, is_wide: false }
    }

    /// A buffer whose numbers must not be rounded.
    pub const fn wide(rows: usize, width: usize) -> Self {
        Self { rows, width, is_wide: true }
    }

    pub fn allocate<B: Backend>(self, backend: &B) -> kernels::Result<B::Activations> {
        match self.is_wide {
            false => backend.activations(self.rows, self.width),
            true => backend.wide_activations(self.rows, self.width),
        }
    }

    pub fn bytes<B: Backend>(self, backend: &B) -> usize {
        self.rows * self.width * if self.is_wide { DType::F32.bytes() } else { backend.number_bytes() }
    }
}

/// Buffers of one stack, `[rows, ..]`.
pub(crate) struct StackSpace<B: Backend> {
    /// `hidden`: the residual stream.
    pub residual: B::Activations,
    /// `hidden`: the normed input of the next sub-layer; at the end, the stack's output.
    pub x: B::Activations,
    /// `query_width + 2 * kv_width`.
    pub qkv: B::Activations,
    /// `query_width`: the output of attention before its projection.
    pub attended: B::Activations,
    /// `hidden`: the output of a sub-layer before its post-norm.
    pub y: B::Activations,
    /// `[block, 2 * intermediate]`.
    pub gate_up: B::Activations,
    /// `[block, intermediate]`.
    pub gated: B::Activations,
    /// Rows that the feed-forward takes at once.
    pub block: usize,
}

impl<B: Backend> StackSpace<B> {
    pub fn new(backend: &B, config: &StackConfig, rows: usize) -> Result<Self> {
        let [residual, x, qkv, attended, y, gate_up, gated] =
            Self::shapes(backend, config, rows).map(|shape| shape.allocate(backend));
        let block = block_rows(backend, rows);
        let (gate_up, gated) = (gate_up?, gated?);
        Ok(Self { residual: residual?, x: x?, qkv: qkv?, attended: attended?, y: y?, gate_up, gated, block })
    }

    /// The buffers in the order of the fields.
    pub fn shapes(backend: &B, config: &StackConfig, rows: usize) -> [BufferShape; 7] {
        let block = block_rows(backend, rows);
        [
            BufferShape::wide(rows, config.hidden),
            BufferShape::new(rows, config.hidden),
            BufferShape::new(rows, config.query_width() + 2 * config.kv_width()),
            BufferShape::new(rows, config.query_width()),
            BufferShape::new(rows, config.hidden),
            BufferShape::new(block, 2 * config.intermediate),
            BufferShape::new(block, config.intermediate),
        ]
    }
}

fn block_rows<B: Backend>(backend: &B, rows: usize) -> usize {
    rows.min(backend.rows_at_once()).max(1)
}

/// Buffers of the decoder.
pub(crate) struct DecoderSpace<B: Backend> {
    pub stack: StackSpace<B>,
    /// `[target_rows, query_width]`: queries of cross-attention.
    pub cross_q: B::Activations,
}

/// Buffers in which the cross-attention keys and values of sources are computed.
pub(crate) struct CrossSpace<B: Backend> {
    /// `[source_rows, 2 * kv_width]`: keys and values of one decoder layer.
    pub kv: B::Activations,
    /// One span for each source row, whose last token is that row.
    pub ends: Vec<PageSpan>,
}
