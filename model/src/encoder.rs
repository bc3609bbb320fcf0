//! The encoder: sources in, final-normed states out, some layers at a time.
//!
//! Called by [`crate::Model::encode`]. A layer is
//! `x += post(attention(pre(x))); x += post(feed_forward(pre(x)))`; each post-norm, residual addition and next
//! pre-norm is one `sandwich`.

use std::ops::Range;

use kernels::{Backend, LinearRows, Precision, Sandwich, Segment};

use crate::config::StackConfig;
use crate::weights::{EncoderLayer, Stack};
use crate::workspace::StackSpace;

/// Sources to encode, flat: row `i` is one token of one source.
#[derive(Debug, Clone, Copy)]
pub struct SourceRows<'a> {
    /// Ids of all sources.
    pub tokens: &'a [u32],
    /// Position of each row in its source.
    pub positions: &'a [u32],
    /// The rows of each source.
    pub segments: &'a [Segment],
}

/// The encoder's fixed part.
pub(crate) struct Encoder<'a, B: Backend> {
    pub backend: &'a B,
    pub weights: &'a Stack<B, EncoderLayer<B>>,
    pub config: &'a StackConfig,
    pub precision: Precision,
    pub embedding_scale: f32,
}

impl<B: Backend> Encoder<'_, B> {
    /// Runs `layers`. Embedding comes before the first; after the last, `space.x` is the encoder's output.
    pub fn run(&self, sources: SourceRows<'_>, layers: Range<usize>, space: &mut StackSpace<B>) {
        let (rows, eps) = (sources.tokens.len(), self.config.rms_norm_eps);
        if layers.start == 0 {
            self.backend.embed(&self.weights.table, sources.tokens, self.embedding_scale, &mut space.residual);
            let first = &self.weights.layers[0].attention.pre;
            self.backend.rms_norm(&space.residual, first, eps, rows, &mut space.x);
        }
        for index in layers {
            let layer = &self.weights.layers[index];
            let next = self.weights.layers.get(index + 1).map_or(&self.weights.norm, |next| &next.attention.pre);
            self.attend(layer, sources, space);
            self.seam(&layer.attention.post, &layer.feed_forward.pre, rows, space);
            space.feed_forward(self.backend, &layer.feed_forward, rows);
            self.seam(&layer.feed_forward.post, next, rows, space);
        }
    }

    /// `y = out(attend(rope(qkv(x))))`.
    fn attend(&self, layer: &EncoderLayer<B>, sources: SourceRows<'_>, space: &mut StackSpace<B>) {
        let (backend, attention) = (self.backend, &layer.attention);
        let rows = LinearRows::first(sources.tokens.len());
        backend.linear(&space.x, &attention.qkv, rows, &mut space.qkv);
        backend.rope(&mut space.qkv, sources.positions, &attention.shape, &self.weights.rope);
        backend.attend_full(&space.qkv, sources.segments, &attention.shape, self.precision, &mut space.attended);
        backend.linear(&space.attended, &attention.out, rows, &mut space.y);
    }

    fn seam(&self, post: &B::Gain, pre: &B::Gain, rows: usize, space: &mut StackSpace<B>) {
        let gains = Sandwich { post, pre, eps: self.config.rms_norm_eps };
        self.backend.sandwich(&mut space.residual, &space.y, gains, rows, &mut space.x);
    }
}
