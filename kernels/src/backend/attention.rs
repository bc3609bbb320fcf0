//! Attention inside segments and over pages, and writing to pages.
//!
//! Implemented by each backend.

use super::rows::{Norm, RotaryHeads, RowOps};
use crate::attention::{FullAttention, PagedAttention, Segment};
use crate::paging::{LayerPages, LayerPagesMut, PageCopy, PagedRows};

/// Keys and values in rows of activations.
#[derive(Debug)]
pub struct KvColumns<'a, Activations, Gain> {
    /// The rows.
    pub rows: &'a Activations,
    /// Column at which the keys of all heads begin; their values follow.
    pub first: usize,
    /// Norm of each key head on its way to the page, in float32; its weight is `[head_dim]`.
    pub key_norm: Option<Norm<'a, Gain>>,
}

/// Rows that are rotated by their positions and written to their pages.
#[derive(Debug, Clone, Copy)]
pub struct RotaryRows<'a> {
    /// Position of each row.
    pub positions: &'a [u32],
    /// Pages of each row.
    pub paged: PagedRows<'a>,
}

/// Attention and the pages it reads.
pub trait AttentionOps: RowOps {
    /// Writes row `i`'s keys and values at position `spans[i].tokens - 1` of its pages, in the rows' format.
    fn write_pages(
        &self,
        kv: KvColumns<'_, Self::Activations, Self::Gain>,
        rows: PagedRows<'_>,
        to: LayerPagesMut<'_, Self::Pages>,
    );

    /// [`RowOps::rope`] of rows `[q | k | v]`, then [`Self::write_pages`] of their keys and values. Keys and values
    /// in the rows are unspecified afterwards.
    fn rope_and_write(
        &self,
        qkv: &mut Self::Activations,
        rows: RotaryRows<'_>,
        heads: RotaryHeads<'_, Self::RopeTable, Self::Gain>,
        to: LayerPagesMut<'_, Self::Pages>,
    ) {
        self.rope(qkv, rows.positions, heads);
        let kv = KvColumns { rows: qkv, first: heads.shape.query_width(), key_norm: None };
        self.write_pages(kv, rows.paged, to);
    }

    /// Copies whole pages, all layers and any format, so that a sequence can write to pages it shared. No page may be
    /// written twice, or both read and written.
    fn copy_pages(&self, copies: &[PageCopy], pages: &mut Self::Pages);

    /// Attention inside each segment, over rows `[q | k | v]` of `qkv`. Segments follow each other from row 0 without
    /// gaps. `out` is `[rows, heads * head_dim]`.
    fn attend_full(
        &self,
        qkv: &Self::Activations,
        segments: &[Segment],
        attention: FullAttention<'_>,
        out: &mut Self::Activations,
    );

    /// Attention of each row's query (columns `0 .. heads * head_dim` of `q`) over the pages of all sides, under one
    /// softmax: `out = sum(exp(s) * v) / sum(exp(s))` with both sums over the positions of all sides. 0 for a row
    /// that sees none.
    fn attend_paged(
        &self,
        q: &Self::Activations,
        attention: PagedAttention<'_>,
        from: LayerPages<'_, Self::Pages>,
        out: &mut Self::Activations,
    );
}
