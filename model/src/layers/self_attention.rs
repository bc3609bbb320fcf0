//! Self-attention: `y = out(attend(rope(qkv(x))))`.
//!
//! The encoder attends in both directions within a source, whose keys and values are in the batch. The decoder attends
//! to earlier positions of a target, whose keys and values are in pages.

use kernels::{
    AttentionShape, Backend, FullAttention, KvSide, LayerPages, LayerPagesMut, LinearRows, PagedAttention, PagedRows,
    RotaryHeads, RotaryRows, Window,
};

use super::space::StackSpace;
use super::stack::StackPass;
use crate::rows::{SourceRows, TargetRows};

/// Weights of a self-attention sub-layer.
pub(crate) struct SelfAttention<B: Backend> {
    pub shape: AttentionShape,
    /// Positions on either side of an encoder's row, or a decoder's last positions; `None` is all.
    pub window: Option<usize>,
    pub pre: B::Gain,
    pub post: B::Gain,
    /// `[q | k | v]`.
    pub qkv: B::Matrix,
    pub out: B::Matrix,
}

impl<B: Backend> SelfAttention<B> {
    /// Attention of the encoder: each row to all rows of its source, within the layer's window.
    pub fn attend_bidirectional(&self, pass: &StackPass<'_, B, SourceRows<'_>>, space: &mut StackSpace<B>) {
        let StackPass { backend, rows, rope, .. } = pass;
        let StackSpace { x, qkv, attended, y, .. } = space;
        let all = LinearRows::first(rows.tokens.len());
        backend.linear(x, &self.qkv, all, qkv);
        backend.rope(qkv, rows.positions, RotaryHeads { shape: &self.shape, table: rope, norms: None });
        let (window, precision) = (Window::symmetric(self.window), pass.arithmetic.precision);
        backend.attend_full(qkv, rows.segments, FullAttention { shape: &self.shape, window, precision }, attended);
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
        let StackPass { backend, rows, rope, arithmetic, .. } = pass;
        let StackSpace { x, qkv, attended, y, .. } = space;
        let all = LinearRows::first(rows.tokens.count());
        let shape = &self.shape;
        let paged = PagedRows { spans: rows.self_spans, tables: rows.tables, format: arithmetic.self_kv() };
        backend.linear(x, &self.qkv, all, qkv);
        let rotary = RotaryRows { positions: rows.positions, paged };
        let heads = RotaryHeads { shape, table: *rope, norms: None };
        backend.rope_and_write(qkv, rotary, heads, LayerPagesMut { pages, layer });
        let attention = PagedAttention::over(shape, KvSide { rows: paged, window: self.window });
        backend.attend_paged(qkv, attention, LayerPages { pages, layer }, attended);
        backend.linear(attended, &self.out, all, y);
    }
}
