//! Cross-attention's keys and values: computed once from the encoder's output, for every decoder layer.
//!
//! Called by [`crate::Model::write_cross`] when a batch of sources is encoded. No rotation, no norm of its own.

use kernels::{Backend, LinearRows, PageSpan, PagedRows, Segment};

use crate::weights::Weights;
use crate::workspace::Workspace;

/// Where the K/V of each encoded source go.
#[derive(Debug, Clone, Copy)]
pub struct CrossPages<'a> {
    /// The rows of each source in the encoder's output.
    pub segments: &'a [Segment],
    /// The pages of each source; one with no tokens is not written.
    pub spans: &'a [PageSpan],
    /// Page indices that the spans point into.
    pub tables: &'a [u32],
}

/// Fills the pages of all sources, layer by layer. `ends` is room for one span a row.
pub(crate) fn write<B: Backend>(
    backend: &B,
    weights: &Weights<B>,
    sources: CrossPages<'_>,
    space: &mut Workspace<B>,
    (pages, ends): (&mut B::Pages, &mut Vec<PageSpan>),
) {
    ends.clear();
    for (segment, span) in sources.segments.iter().zip(sources.spans) {
        // Position `i` of a span is written as the last of its first `i + 1` tokens.
        ends.extend(
            (1..=segment.len)
                .map(|tokens| PageSpan { first: span.first, tokens: if span.tokens == 0 { 0 } else { tokens } }),
        );
    }
    let rows = PagedRows { spans: ends, tables: sources.tables };
    for (index, layer) in weights.decoder.layers.iter().enumerate() {
        backend.linear(&space.encoder.x, &layer.cross.kv, LinearRows::first(ends.len()), &mut space.cross_kv);
        backend.write_pages(&space.cross_kv, 0, rows, index, pages);
    }
}
