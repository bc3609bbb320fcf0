//! The rows of a step: which tokens run, at which positions, and in which pages their keys and values lie.
//!
//! Filled by whoever drives a [`crate::Model`], read by its layers. Rows are flat and ragged: nothing is padded.

use kernels::{PageSpan, Segment};

use crate::page_pieces::PageTables;

/// Sources to encode. Row `i` is one token of one source.
#[derive(Debug, Clone, Copy)]
pub struct SourceRows<'a> {
    /// Token ids of all sources.
    pub tokens: &'a [u32],
    /// Position of each row in its source.
    pub positions: &'a [u32],
    /// Rows of each source, from row 0 without gaps.
    pub segments: &'a [Segment],
}

/// Pages that the cross-attention keys and values of encoded sources are written to.
#[derive(Debug, Clone, Copy)]
pub struct CrossPages<'a> {
    /// Rows of each source in the encoder's output, from row 0 without gaps.
    pub segments: &'a [Segment],
    /// Pages of each source.
    pub spans: &'a [PageSpan],
    /// Page tables that the spans point into.
    pub tables: &'a PageTables,
}

/// Target positions to decode, whatever sequence each belongs to. Rows of one sequence stand in ascending order of
/// position. Fresh, forced, scored and recomputed tokens are all the same rows.
#[derive(Debug)]
pub struct TargetRows<'a, Drawn> {
    /// Decoder input ids.
    pub tokens: RowTokens<'a, Drawn>,
    /// Position of each row in its target; the start token's is 0.
    pub positions: &'a [u32],
    /// Self-attention pages of each row: `tokens = position + 1`.
    pub self_spans: &'a [PageSpan],
    /// Cross-attention pages of each row: `tokens` is the length of the source.
    pub cross_spans: &'a [PageSpan],
    /// Page tables that both kinds of spans point into.
    pub tables: &'a PageTables,
}

/// Token ids of rows, and where they come from.
#[derive(Debug)]
pub enum RowTokens<'a, Drawn> {
    /// The host knows every id.
    Host(&'a [u32]),
    /// The device drew some of the ids, and the host may not know them yet.
    Drawn {
        /// Ids that the host knows; the ids of drawn rows are ignored.
        host: &'a [u32],
        /// Ids that an earlier step drew.
        drawn: &'a Drawn,
        /// Index into `drawn` of each row's id, or [`kernels::NO_PLACE`] for an id that the host knows.
        places: &'a [u32],
    },
}

impl<Drawn> RowTokens<'_, Drawn> {
    /// Number of rows.
    pub const fn count(&self) -> usize {
        match self {
            Self::Host(ids) | Self::Drawn { host: ids, .. } => ids.len(),
        }
    }
}
