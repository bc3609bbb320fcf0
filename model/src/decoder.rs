//! The decoder: one row for each target position that is owed, whatever sequence it belongs to.
//!
//! Called by [`crate::Model::decode`]. A layer is self-attention, cross-attention and feed-forward, each between
//! its pre- and post-norm. Fresh tokens, forced ones, scored ones and recomputed ones are all the same rows.

use kernels::{Backend, KvFormat, LinearRows, PageSpan, PagedRows, Sandwich};

use crate::weights::{CrossAttention, DecoderLayer, SelfAttention, Stack};
use crate::workspace::{StackSpace, Workspace};

/// Rows of one step. Those of one sequence stand in ascending order of position.
#[derive(Debug, Clone, Copy)]
pub struct TargetRows<'a> {
    /// Decoder input ids.
    pub tokens: &'a [u32],
    /// Positions; the start token's is 0.
    pub positions: &'a [u32],
    /// Self-attention pages of each row: `tokens = position + 1`.
    pub self_spans: &'a [PageSpan],
    /// Cross-attention pages of each row: `tokens` = the source's length.
    pub cross_spans: &'a [PageSpan],
    /// Page indices that both point into.
    pub tables: &'a [u32],
}

/// Tokens of a step that may not have reached the host: drawn ids, and for each row its place among them or
/// [`kernels::NO_PLACE`]. What [`TargetRows::tokens`] says of rows with a place counts for nothing.
pub type DrawnTokens<'a, B> = (&'a <B as Backend>::Drawn, &'a [u32]);

/// The decoder's fixed part.
pub(crate) struct Decoder<'a, B: Backend> {
    pub backend: &'a B,
    pub weights: &'a Stack<B, DecoderLayer<B>>,
    pub self_kv: KvFormat,
    pub cross_kv: KvFormat,
}

impl<B: Backend> Decoder<'_, B> {
    /// Runs all layers; `space.decoder.x` is then the final-normed output of every row.
    pub fn run(
        &self,
        rows: TargetRows<'_>,
        drawn: Option<DrawnTokens<'_, B>>,
        pages: &mut B::Pages,
        space: &mut Workspace<B>,
    ) {
        let (backend, weights, count) = (self.backend, self.weights, rows.tokens.len());
        let between = |post, pre| Sandwich { post, pre, eps: weights.eps };
        let own = &mut space.decoder;
        own.embed(backend, weights, (rows.tokens, drawn), &weights.layers[0].attention.pre);
        for (index, DecoderLayer { attention, cross, feed_forward }) in weights.layers.iter().enumerate() {
            let next = weights.layers.get(index + 1).map_or(&weights.norm, |next| &next.attention.pre);
            self.attend_self(attention, (rows, index), pages, own);
            own.seam(backend, between(&attention.post, &cross.pre), count);
            self.attend_cross(cross, (rows, index), pages, (own, &mut space.cross_q));
            own.seam(backend, between(&cross.post, &feed_forward.pre), count);
            own.feed_forward(backend, feed_forward, count);
            own.seam(backend, between(&feed_forward.post, next), count);
        }
    }

    /// `y = out(attend(rope(qkv(x))))`, K and V by way of the pages.
    fn attend_self(
        &self,
        attention: &SelfAttention<B>,
        (rows, layer): (TargetRows<'_>, usize),
        pages: &mut B::Pages,
        space: &mut StackSpace<B>,
    ) {
        let (backend, shape) = (self.backend, &attention.shape);
        let all = LinearRows::first(rows.tokens.len());
        let paged = PagedRows { spans: rows.self_spans, tables: rows.tables, format: self.self_kv };
        backend.linear(&space.x, &attention.qkv, all, &mut space.qkv);
        let heads = (shape, &self.weights.rope);
        backend.rope_and_write(&mut space.qkv, (rows.positions, paged), heads, layer, pages);
        backend.attend_paged(&space.qkv, paged, shape, layer, pages, &mut space.attended);
        backend.linear(&space.attended, &attention.out, all, &mut space.y);
    }

    /// `y = out(attend(q(x)))` over the source's K and V.
    fn attend_cross(
        &self,
        attention: &CrossAttention<B>,
        (rows, layer): (TargetRows<'_>, usize),
        pages: &B::Pages,
        (space, q): (&mut StackSpace<B>, &mut B::Activations),
    ) {
        let backend = self.backend;
        let all = LinearRows::first(rows.tokens.len());
        let paged = PagedRows { spans: rows.cross_spans, tables: rows.tables, format: self.cross_kv };
        backend.linear(&space.x, &attention.q, all, q);
        backend.attend_paged(q, paged, &attention.shape, layer, pages, &mut space.attended);
        backend.linear(&space.attended, &attention.out, all, &mut space.y);
    }
}
