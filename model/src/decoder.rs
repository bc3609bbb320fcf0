//! The decoder: one row for each target position that is owed, whatever sequence it belongs to.
//!
//! Called by [`crate::Model::decode`]. A layer is self-attention, cross-attention and feed-forward, each between
//! its pre- and post-norm. Fresh tokens, forced ones, scored ones and recomputed ones are all the same rows.

use kernels::{Backend, LinearRows, PageSpan, PagedRows, Sandwich};

use crate::config::StackConfig;
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

/// The decoder's fixed part.
pub(crate) struct Decoder<'a, B: Backend> {
    pub backend: &'a B,
    pub weights: &'a Stack<B, DecoderLayer<B>>,
    pub config: &'a StackConfig,
    pub embedding_scale: f32,
}

impl<B: Backend> Decoder<'_, B> {
    /// Runs all layers; `space.decoder.x` is then the final-normed output of every row.
    pub fn run(&self, rows: TargetRows<'_>, pages: &mut B::Pages, space: &mut Workspace<B>) {
        let count = rows.tokens.len();
        let own = &mut space.decoder;
        self.backend.embed(&self.weights.table, rows.tokens, self.embedding_scale, &mut own.residual);
        let first = &self.weights.layers[0].attention.pre;
        self.backend.rms_norm(&own.residual, first, self.config.rms_norm_eps, count, &mut own.x);
        for (index, layer) in self.weights.layers.iter().enumerate() {
            let next = self.weights.layers.get(index + 1).map_or(&self.weights.norm, |next| &next.attention.pre);
            self.attend_self(&layer.attention, (rows, index), pages, own);
            self.seam(&layer.attention.post, &layer.cross.pre, count, own);
            self.attend_cross(&layer.cross, (rows, index), pages, (own, &mut space.cross_q));
            self.seam(&layer.cross.post, &layer.feed_forward.pre, count, own);
            own.feed_forward(self.backend, &layer.feed_forward, count);
            self.seam(&layer.feed_forward.post, next, count, own);
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
        let paged = PagedRows { spans: rows.self_spans, tables: rows.tables };
        backend.linear(&space.x, &attention.qkv, all, &mut space.qkv);
        backend.rope(&mut space.qkv, rows.positions, shape, &self.weights.rope);
        backend.write_pages(&space.qkv, shape.query_width(), paged, layer, pages);
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
        let paged = PagedRows { spans: rows.cross_spans, tables: rows.tables };
        backend.linear(&space.x, &attention.q, all, q);
        backend.attend_paged(q, paged, &attention.shape, layer, pages, &mut space.attended);
        backend.linear(&space.attended, &attention.out, all, &mut space.y);
    }

    fn seam(&self, post: &B::Gain, pre: &B::Gain, rows: usize, space: &mut StackSpace<B>) {
        let gains = Sandwich { post, pre, eps: self.config.rms_norm_eps };
        self.backend.sandwich(&mut space.residual, &space.y, gains, rows, &mut space.x);
    }
}
