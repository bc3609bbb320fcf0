//! Cross-attention's keys and values: computed once from the encoder's output, for every decoder layer.
//!
//! Called by [`crate::Model::write_cross`] when a batch of sources is encoded. No rotation, no norm of its own.

use kernels::{Backend, KvFormat, LinearRows, PageSpan, PagedRows, Segment};

use crate::weights::Weights;
use crate::workspace::Workspace;

/// Where the K/V of each encoded source go.
#[derive(Debug, Clone, Copy)]
pub struct CrossPages<'a> {
    /// The rows of each source in the encoder's output, from row 0 without gaps.
    pub segments: &'a [Segment],
    /// The pages of each source.
    pub spans: &'a [PageSpan],
    /// Page indices that the spans point into.
    pub tables: &'a [u32],
}

/// Fills the pages of all sources, layer by layer.
pub(crate) fn write<B: Backend>(
    (backend, weights): (&B, &Weights<B>),
    (sources, format): (CrossPages<'_>, KvFormat),
    space: &mut Workspace<B>,
    pages: &mut B::Pages,
) {
    space.cross_ends.clear();
    for (segment, span) in sources.segments.iter().zip(sources.spans) {
        debug_assert_eq!(segment.start as usize, space.cross_ends.len(), "sources follow each other without gaps");
        // Position `i` of a span is written as the last of its first `i + 1` tokens.
        space.cross_ends.extend((1..=segment.len).map(|tokens| PageSpan { first: span.first, tokens }));
    }
    let rows = PagedRows { spans: &space.cross_ends, tables: sources.tables, format };
    let all = LinearRows::first(space.cross_ends.len());
    for (index, layer) in weights.decoder.layers.iter().enumerate() {
        backend.linear(&space.encoder.x, &layer.cross.kv, all, &mut space.cross_kv);
        backend.write_pages(&space.cross_kv, 0, rows, index, pages);
    }
}
