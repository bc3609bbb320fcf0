//! The decoder: one row for each target position to decode, whatever sequence it belongs to.
//!
//! A layer attends to the target and to the source, then runs its feed-forward, each sub-layer between its pre-norm and
//! its post-norm. How it attends is [`DecoderAttention`]; nothing else here asks.

use kernels::{Backend, KvColumns, LayerPagesMut, Norm, PageSpan, PagedRows, Storage};

use super::cross_attention::CrossAttention;
use super::feed_forward::FeedForward;
use super::self_attention::SelfAttention;
use super::space::{CrossSpace, DecoderSpace};
use super::stack::{Layer, Stack, StackPass};
use crate::page_pieces::LayerPlace;
use crate::rows::{CrossPages, TargetRows};

/// Weights of a decoder layer.
pub(crate) struct DecoderLayer<B: Backend> {
    pub attention: DecoderAttention<B>,
    pub feed_forward: FeedForward<B>,
    /// Where its keys and values lie in pages.
    pub place: LayerPlace,
}

/// Attention of a decoder layer, to the target and to the source.
pub(crate) enum DecoderAttention<B: Backend> {
    /// Two sub-layers with weights of their own: self-attention over the target, then cross-attention over the source.
    Separate { self_attention: SelfAttention<B>, cross_attention: CrossAttention<B> },
    /// One sub-layer with the weights of a self-attention, over target and source together.
    Merged(SelfAttention<B>),
}

type TargetPass<'a, B> = StackPass<'a, B, TargetRows<'a, <B as Storage>::Drawn>>;

impl<B: Backend> Stack<B, DecoderLayer<B>> {
    /// Runs all layers; `space.stack.x` is then the final-normed output of every row.
    pub fn run(&self, pass: &TargetPass<'_, B>, pages: &mut B::Pages, space: &mut DecoderSpace<B>) {
        pass.embed(&pass.rows.tokens, self.norm_before(0), &mut space.stack);
        for (index, layer) in self.layers.iter().enumerate() {
            let rows = pass.rows.tokens.count();
            let DecoderLayer { attention, feed_forward, place } = layer;
            attention.run(pass, *place, pages, space);
            pass.seam(attention.post(), &feed_forward.pre, 0..rows, &mut space.stack);
            feed_forward.run(pass.backend, 0..rows, &mut space.stack);
            pass.seam(&feed_forward.post, self.norm_before(index + 1), 0..rows, &mut space.stack);
        }
    }

    /// Writes the keys and values of encoded sources to their pages, layer by layer; `states` is the encoder's output.
    pub fn write_cross(
        &self,
        pass: &StackPass<'_, B, CrossPages<'_>>,
        states: &B::Activations,
        pages: &mut B::Pages,
        space: &mut CrossSpace<B>,
    ) {
        let CrossSpace { kv, ends } = space;
        ends.clear();
        for (segment, span) in pass.rows.segments.iter().zip(pass.rows.spans) {
            debug_assert_eq!(segment.start as usize, ends.len(), "sources follow each other without gaps");
            // Position `i` of a span is written as the last of its first `i + 1` tokens.
            ends.extend((1..=segment.len).map(|tokens| PageSpan { first: span.first, tokens }));
        }
        for layer in &self.layers {
            let LayerPlace { piece, layer: index } = layer.place;
            let tables = pass.rows.tables.of(piece);
            let rows = PagedRows { spans: ends, tables, format: pass.arithmetic.cross_kv };
            layer.attention.project_source(pass.backend, states, ends.len(), kv);
            let columns = KvColumns { rows: kv, first: 0, key_norm: layer.attention.source_key_norm(pass.eps) };
            pass.backend.write_pages(columns, rows, LayerPagesMut { pages, layer: index });
        }
    }
}

impl<B: Backend> DecoderAttention<B> {
    /// `y` of the last attention sub-layer; sub-layers before it are added to the residual stream.
    fn run(&self, pass: &TargetPass<'_, B>, place: LayerPlace, pages: &mut B::Pages, space: &mut DecoderSpace<B>) {
        match self {
            Self::Separate { self_attention, cross_attention } => {
                self_attention.attend_causal(pass, place, pages, &mut space.stack);
                let rows = 0..pass.rows.tokens.count();
                pass.seam(&self_attention.post, &cross_attention.pre, rows, &mut space.stack);
                cross_attention.attend(pass, place, pages, space);
            }
            Self::Merged(attention) => attention.attend_merged(pass, place, pages, &mut space.stack),
        }
    }

    /// `kv = [k | v]` of `rows` encoder states.
    fn project_source(&self, backend: &B, states: &B::Activations, rows: usize, kv: &mut B::Activations) {
        match self {
            Self::Separate { cross_attention, .. } => cross_attention.project(backend, states, rows, kv),
            Self::Merged(attention) => attention.project_source(backend, states, rows, kv),
        }
    }

    /// Norm of a source's keys on their way to the pages.
    fn source_key_norm(&self, eps: f32) -> Option<Norm<'_, B::Gain>> {
        match self {
            Self::Separate { .. } => None,
            Self::Merged(attention) => attention.source_key_norm(eps),
        }
    }

    /// Norm after the last attention sub-layer.
    fn post(&self) -> &B::Gain {
        match self {
            Self::Separate { cross_attention, .. } => &cross_attention.post,
            Self::Merged(attention) => &attention.post,
        }
    }
}

impl<B: Backend> Layer<B> for DecoderLayer<B> {
    fn pre(&self) -> &B::Gain {
        let (DecoderAttention::Separate { self_attention, .. } | DecoderAttention::Merged(self_attention)) =
            &self.attention;
        &self_attention.pre
    }
}
