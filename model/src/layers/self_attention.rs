//! Self-attention: `y = out(attend(rope(norm(qkv(x)))))`, with norms of query and key heads where a model has them.
//!
//! The encoder attends in both directions within a source, whose keys and values are in the batch. The decoder attends
//! to earlier positions of a target, whose keys and values are in pages.

use std::ops::Range;

use kernels::{
    AttentionShape, Backend, FullAttention, HeadNorms, KvSide, LayerPages, LayerPagesMut, LinearRows, PagedAttention,
    PagedRows, QueryRows, RotaryHeads, RotaryRows, Window,
};

use super::space::StackSpace;
use super::stack::StackPass;
use crate::config::LayerKind;
use crate::page_pieces::LayerPlace;
use crate::rows::{SourceRows, TargetRows};

/// Weights of a self-attention sub-layer.
pub(crate) struct SelfAttention<B: Backend> {
    pub shape: AttentionShape,
    /// Positions that a row sees around its own.
    pub window: Window,
    /// Kind of the layer, by which its rotary angles are found.
    pub kind: LayerKind,
    /// Norms of query and key heads, if they are normed.
    pub norms: Option<HeadGains<B>>,
    pub pre: B::Gain,
    pub post: B::Gain,
    /// `[q | k | v]`.
    pub qkv: B::Matrix,
    pub out: B::Matrix,
}

/// Weights of the norms of heads, `[head_dim]`.
pub(crate) struct HeadGains<B: Backend> {
    pub query: B::Gain,
    pub key: B::Gain,
}

impl<B: Backend> SelfAttention<B> {
    /// Queries, keys and values of all rows of the encoder, normed and rotated.
    pub fn project_rows(&self, pass: &StackPass<'_, B, SourceRows<'_>>, space: &mut StackSpace<B>) {
        let StackPass { backend, rows, .. } = pass;
        let StackSpace { x, qkv, .. } = space;
        backend.linear(x, &self.qkv, LinearRows::first(rows.tokens.len()), qkv);
        backend.rope(qkv, rows.positions, self.rotary_heads(pass));
    }

    /// Attention of the encoder, once rows are projected: each of some rows to all rows of its source, within the
    /// layer's window.
    pub fn attend_bidirectional(
        &self,
        pass: &StackPass<'_, B, SourceRows<'_>>,
        Range { start, end }: Range<usize>,
        space: &mut StackSpace<B>,
    ) {
        let StackSpace { qkv, attended, y, .. } = space;
        let precision = pass.arithmetic.precision;
        let queries = QueryRows { start, end };
        let attention = FullAttention { shape: &self.shape, window: self.window, precision, queries };
        pass.backend.attend_full(qkv, pass.rows.segments, attention, attended);
        pass.backend.linear(attended, &self.out, LinearRows { from: start, to: start, count: end - start }, y);
    }

    /// Attention of the decoder: each row writes its keys and values to the pages, then attends to its target up to
    /// itself, within the layer's window.
    pub fn attend_causal(
        &self,
        pass: &StackPass<'_, B, TargetRows<'_, B::Drawn>>,
        place: LayerPlace,
        pages: &mut B::Pages,
        space: &mut StackSpace<B>,
    ) {
        let target = self.write_target(pass, place, pages, space);
        let StackSpace { qkv, attended, y, .. } = space;
        let attention = PagedAttention::over(&self.shape, target);
        pass.backend.attend_paged(qkv, attention, LayerPages { pages, layer: place.layer }, attended);
        pass.backend.linear(attended, &self.out, LinearRows::first(pass.rows.tokens.count()), y);
    }

    /// Leaves the rows' rotated queries in `space.qkv`, and writes their keys and values to the pages of their targets,
    /// the side that is given back.
    pub(super) fn write_target<'a>(
        &self,
        pass: &StackPass<'a, B, TargetRows<'a, B::Drawn>>,
        place: LayerPlace,
        pages: &mut B::Pages,
        space: &mut StackSpace<B>,
    ) -> KvSide<'a> {
        let StackPass { backend, rows, arithmetic, .. } = pass;
        let StackSpace { x, qkv, .. } = space;
        let paged =
            PagedRows { spans: rows.self_spans, tables: rows.tables.of(place.piece), format: arithmetic.self_kv() };
        backend.linear(x, &self.qkv, LinearRows::first(rows.tokens.count()), qkv);
        let rotary = RotaryRows { positions: rows.positions, paged };
        backend.rope_and_write(qkv, rotary, self.rotary_heads(pass), LayerPagesMut { pages, layer: place.layer });
        KvSide { rows: paged, window: self.window.left.map(|left| left + 1) }
    }

    /// Heads that are rotated, with the angles of the layer's kind.
    fn rotary_heads<'a, Rows>(&'a self, pass: &StackPass<'a, B, Rows>) -> RotaryHeads<'a, B::RopeTable, B::Gain> {
        let eps = pass.eps;
        let norms = self.norms.as_ref().map(|HeadGains { query, key }| HeadNorms { query, key, eps });
        RotaryHeads { shape: &self.shape, table: pass.ropes.of(self.kind), norms }
    }
}
