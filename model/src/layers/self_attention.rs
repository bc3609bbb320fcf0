//! Self-attention: `y = out(attend(rope(norm(qkv(x)))))`, with norms of query and key heads where a model has them.
//!
//! The encoder attends in both directions within a source, whose keys and values are in the batch. The decoder attends
//! to earlier positions of a target, whose keys and values are in pages.

use kernels::{
    AttentionShape, Backend, FullAttention, HeadNorms, KvSide, LayerPages, LayerPagesMut, LinearRows, PagedAttention,
    PagedRows, RotaryHeads, RotaryRows, Window,
};

use super::space::StackSpace;
use super::stack::StackPass;
use crate::config::LayerKind;
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
    /// Attention of the encoder: each row to all rows of its source, within the layer's window.
    pub fn attend_bidirectional(&self, pass: &StackPass<'_, B, SourceRows<'_>>, space: &mut StackSpace<B>) {
        let StackPass { backend, rows, .. } = pass;
        let StackSpace { x, qkv, attended, y, .. } = space;
        let all = LinearRows::first(rows.tokens.len());
        backend.linear(x, &self.qkv, all, qkv);
        backend.rope(qkv, rows.positions, self.rotary_heads(pass));
        let attention = FullAttention { shape: &self.shape, window: self.window, precision: pass.arithmetic.precision };
        backend.attend_full(qkv, rows.segments, attention, attended);
        backend.linear(attended, &self.out, all, y);
    }

    /// Attention of the decoder: each row writes its keys and values to the pages, then attends to its target up to
    /// itself, within the layer's window.
    pub fn attend_causal(
        &self,
        pass: &StackPass<'_, B, TargetRows<'_, B::Drawn>>,
        layer: usize,
        pages: &mut B::Pages,
        space: &mut StackSpace<B>,
    ) {
        let target = self.write_target(pass, layer, pages, space);
        let StackSpace { qkv, attended, y, .. } = space;
        let attention = PagedAttention::over(&self.shape, target);
        pass.backend.attend_paged(qkv, attention, LayerPages { pages, layer }, attended);
        pass.backend.linear(attended, &self.out, LinearRows::first(pass.rows.tokens.count()), y);
    }

    /// Leaves the rows' rotated queries in `space.qkv`, and writes their keys and values to the pages of their targets,
    /// the side that is given back.
    pub(super) fn write_target<'a>(
        &self,
        pass: &StackPass<'a, B, TargetRows<'a, B::Drawn>>,
        layer: usize,
        pages: &mut B::Pages,
        space: &mut StackSpace<B>,
    ) -> KvSide<'a> {
        let StackPass { backend, rows, arithmetic, .. } = pass;
        let StackSpace { x, qkv, .. } = space;
        let paged = PagedRows { spans: rows.self_spans, tables: rows.tables, format: arithmetic.self_kv() };
        backend.linear(x, &self.qkv, LinearRows::first(rows.tokens.count()), qkv);
        let rotary = RotaryRows { positions: rows.positions, paged };
        backend.rope_and_write(qkv, rotary, self.rotary_heads(pass), LayerPagesMut { pages, layer });
        KvSide { rows: paged, window: self.window.left.map(|left| left + 1) }
    }

    /// Heads that are rotated, with the angles of the layer's kind.
    fn rotary_heads<'a, Rows>(&'a self, pass: &StackPass<'a, B, Rows>) -> RotaryHeads<'a, B::RopeTable, B::Gain> {
        let eps = pass.eps;
        let norms = self.norms.as_ref().map(|HeadGains { query, key }| HeadNorms { query, key, eps });
        RotaryHeads { shape: &self.shape, table: pass.ropes.of(self.kind), norms }
    }
}
