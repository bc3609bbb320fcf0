//! Merged attention: `y = out(attend(rope(norm(q(x)))))` over the keys and values of a target and of its source, under
//! one softmax.
//!
//! The weights are those of a self-attention. Both sides' keys are normed, and only the target's are rotated. The
//! window is the target's alone: a row sees all of its source.

use kernels::{Backend, KvSide, LayerPages, LinearRows, Norm, Outputs, PagedAttention, PagedRows};

use super::self_attention::SelfAttention;
use super::space::StackSpace;
use super::stack::StackPass;
use crate::page_pieces::LayerPlace;
use crate::rows::TargetRows;

impl<B: Backend> SelfAttention<B> {
    /// `kv = [k | v]` of the first `rows` encoder states, keys not normed.
    pub fn project_source(&self, backend: &B, states: &B::Activations, rows: usize, kv: &mut B::Activations) {
        let first = self.shape.query_width();
        let columns = Outputs::of(&self.qkv, first..first + 2 * self.shape.kv_width());
        backend.linear(states, columns, LinearRows::first(rows), kv);
    }

    /// Norm of the source's keys on their way to the pages.
    pub fn source_key_norm(&self, eps: f32) -> Option<Norm<'_, B::Gain>> {
        self.norms.as_ref().map(|norms| Norm { gain: &norms.key, eps })
    }

    /// Attention of each row, which first writes its keys and values to the pages: to its target up to itself, within
    /// the layer's window, and to all of its source.
    pub fn attend_merged(
        &self,
        pass: &StackPass<'_, B, TargetRows<'_, B::Drawn>>,
        place: LayerPlace,
        pages: &mut B::Pages,
        space: &mut StackSpace<B>,
    ) {
        let target = self.write_target(pass, place, pages, space);
        let StackPass { backend, rows, arithmetic, .. } = pass;
        let StackSpace { qkv, attended, y, .. } = space;
        let source =
            PagedRows { spans: rows.cross_spans, tables: rows.tables.of(place.piece), format: arithmetic.cross_kv };
        let source = KvSide { rows: source, window: None };
        let attention = PagedAttention { shape: &self.shape, first: target, second: Some(source) };
        backend.attend_paged(qkv, attention, LayerPages { pages, layer: place.layer }, attended);
        backend.linear(attended, &self.out, LinearRows::first(rows.tokens.count()), y);
    }
}
