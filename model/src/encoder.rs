//! The encoder: sources in, final-normed states out, some layers at a time.
//!
//! Called by [`crate::Model::encode`]. A layer is
//! `x += post(attention(pre(x))); x += post(feed_forward(pre(x)))`; each post-norm, residual addition and next
//! pre-norm is one `sandwich`.

use std::ops::Range;

use kernels::{Backend, LinearRows, Precision, Sandwich, Segment};

use crate::weights::{EncoderLayer, SelfAttention, Stack};
use crate::workspace::StackSpace;

/// Sources to encode, flat: row `i` is one token of one source.
#[derive(Debug, Clone, Copy)]
pub struct SourceRows<'a> {
    /// Ids of all sources.
    pub tokens: &'a [u32],
    /// Position of each row in its source.
    pub positions: &'a [u32],
    /// The rows of each source, from row 0 without gaps.
    pub segments: &'a [Segment],
}

/// The encoder's fixed part.
pub(crate) struct Encoder<'a, B: Backend> {
    pub backend: &'a B,
    pub weights: &'a Stack<B, EncoderLayer<B>>,
    pub precision: Precision,
}

impl<B: Backend> Encoder<'_, B> {
    /// Runs `layers`. Embedding comes before the first; after the last, `space.x` is the encoder's output.
    pub fn run(&self, sources: SourceRows<'_>, layers: Range<usize>, space: &mut StackSpace<B>) {
        let (backend, weights, rows) = (self.backend, self.weights, sources.tokens.len());
        let between = |post, pre| Sandwich { post, pre, eps: weights.eps };
        if layers.start == 0 {
            space.embed(backend, weights, (sources.tokens, None), &weights.layers[0].attention.pre);
        }
        for index in layers {
            let EncoderLayer { attention, feed_forward } = &weights.layers[index];
            let next = weights.layers.get(index + 1).map_or(&weights.norm, |next| &next.attention.pre);
            self.attend(attention, sources, space);
            space.seam(backend, between(&attention.post, &feed_forward.pre), rows);
            space.feed_forward(backend, feed_forward, rows);
            space.seam(backend, between(&feed_forward.post, next), rows);
        }
    }

    /// `y = out(attend(rope(qkv(x))))`.
    fn attend(&self, attention: &SelfAttention<B>, sources: SourceRows<'_>, space: &mut StackSpace<B>) {
        let backend = self.backend;
        let rows = LinearRows::first(sources.tokens.len());
        backend.linear(&space.x, &attention.qkv, rows, &mut space.qkv);
        backend.rope(&mut space.qkv, sources.positions, &attention.shape, &self.weights.rope);
        backend.attend_full(&space.qkv, sources.segments, &attention.shape, self.precision, &mut space.attended);
        backend.linear(&space.attended, &attention.out, rows, &mut space.y);
    }
}
