//! Cross-attention: `y = out(attend(q(x)))` over the keys and values of a source.
//!
//! Keys and values are projected once from the encoder's output and kept in pages. Neither they nor the queries are
//! rotated or normed, and no window applies.

use kernels::{AttentionShape, Backend, KvSide, LayerPages, LinearRows, PagedAttention, PagedRows};

use super::space::{DecoderSpace, StackSpace};
use super::stack::StackPass;
use crate::page_pieces::LayerPlace;
use crate::rows::TargetRows;

/// Weights of a cross-attention sub-layer.
pub(crate) struct CrossAttention<B: Backend> {
    pub shape: AttentionShape,
    pub pre: B::Gain,
    pub post: B::Gain,
    pub q: B::Matrix,
    /// `[k | v]`, from the encoder's width.
    pub kv: B::Matrix,
    pub out: B::Matrix,
}

impl<B: Backend> CrossAttention<B> {
    /// `kv = [k | v]` of the first `rows` encoder states.
    pub fn project(&self, backend: &B, states: &B::Activations, rows: usize, kv: &mut B::Activations) {
        backend.linear(states, &self.kv, LinearRows::first(rows), kv);
    }

    /// Attention of each row to all of its source.
    pub fn attend(
        &self,
        pass: &StackPass<'_, B, TargetRows<'_, B::Drawn>>,
        place: LayerPlace,
        pages: &B::Pages,
        space: &mut DecoderSpace<B>,
    ) {
        let StackPass { backend, rows, arithmetic, .. } = pass;
        let DecoderSpace { stack: StackSpace { x, attended, y, .. }, cross_q } = space;
        let all = LinearRows::first(rows.tokens.count());
        let source =
            PagedRows { spans: rows.cross_spans, tables: rows.tables.of(place.piece), format: arithmetic.cross_kv };
        let attention = PagedAttention::over(&self.shape, KvSide { rows: source, window: None });
        backend.linear(x, &self.q, all, cross_q);
        backend.attend_paged(cross_q, attention, LayerPages { pages, layer: place.layer }, attended);
        backend.linear(attended, &self.out, all, y);
    }
}
