//! Shapes of attention: heads, segments, windows.
//!
//! Used by every backend.

use std::ops::Range;

use crate::number::Precision;
use crate::paging::PagedRows;

/// Heads and scores of one attention.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AttentionShape {
    /// Query heads.
    pub heads: usize,
    /// Key/value heads; query head `h` reads K/V head `h / (heads / kv_heads)`.
    pub kv_heads: usize,
    /// Width of one head.
    pub head_dim: usize,
    /// Factor of the scores (`query_pre_attn_scalar ^ -0.5`).
    pub scale: f32,
    /// Scores become `cap * tanh(score / cap)`, before any mask.
    pub softcap: Option<f32>,
}

impl AttentionShape {
    /// Width of the query part of a row.
    pub const fn query_width(&self) -> usize {
        self.heads * self.head_dim
    }

    /// Width of the key (or value) part of a row.
    pub const fn kv_width(&self) -> usize {
        self.kv_heads * self.head_dim
    }
}

/// Consecutive rows `start .. start + len` that form one sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// First row.
    pub start: u32,
    /// Rows.
    pub len: u32,
}

/// How far a query sees on either side of its own position; `None` is without limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Window {
    /// Positions before its own.
    pub left: Option<usize>,
    /// Positions after its own.
    pub right: Option<usize>,
}

impl Window {
    /// Equal limits on both sides.
    pub const fn symmetric(limit: Option<usize>) -> Self {
        Self { left: limit, right: limit }
    }

    /// Positions of a sequence of `len` that the query at position `query` sees.
    pub fn visible(self, query: usize, len: usize) -> Range<usize> {
        let start = self.left.map_or(0, |left| query.saturating_sub(left));
        let end = self.right.map_or(len, |right| len.min(query.saturating_add(right).saturating_add(1)));
        start..end
    }
}

/// Attention inside segments.
#[derive(Debug, Clone, Copy)]
pub struct FullAttention<'a> {
    /// Heads and scores.
    pub shape: &'a AttentionShape,
    /// Keys that a query sees.
    pub window: Window,
    /// Number type of queries, keys, values and weights.
    pub precision: Precision,
}

/// Attention of single rows over pages: one softmax over the keys of one or two sides, such as a target and its source.
#[derive(Debug, Clone, Copy)]
pub struct PagedAttention<'a> {
    /// Heads and scores.
    pub shape: &'a AttentionShape,
    /// Keys and values that are added up first.
    pub first: KvSide<'a>,
    /// Keys and values after them, of the same rows. A row may see no position of either side.
    pub second: Option<KvSide<'a>>,
}

impl<'a> PagedAttention<'a> {
    /// Attention over one side.
    pub const fn over(shape: &'a AttentionShape, side: KvSide<'a>) -> Self {
        Self { shape, first: side, second: None }
    }

    /// The sides in order.
    pub fn sides(self) -> impl Iterator<Item = KvSide<'a>> {
        std::iter::once(self.first).chain(self.second)
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        let rows = self.first.rows.spans.len();
        assert!(
            self.second.is_none_or(|second| second.rows.spans.len() == rows),
            "both sides have a span for each row"
        );
        rows
    }
}

/// Keys and values that rows attend to.
#[derive(Debug, Clone, Copy)]
pub struct KvSide<'a> {
    /// Pages of each row.
    pub rows: PagedRows<'a>,
    /// A row sees only the last `window` of its positions; `None` is all.
    pub window: Option<usize>,
}

impl KvSide<'_> {
    /// Positions of its sequence that a row sees.
    pub fn visible(&self, row: usize) -> Range<usize> {
        let tokens = self.rows.spans[row].tokens as usize;
        tokens.saturating_sub(self.window.unwrap_or(tokens))..tokens
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_ends_at_the_sequence_and_its_sides_differ() {
        assert_eq!(Window::default().visible(3, 9), 0..9);
        assert_eq!(Window::symmetric(Some(2)).visible(3, 9), 1..6);
        assert_eq!(Window { left: Some(5), right: Some(1) }.visible(3, 9), 0..5);
        assert_eq!(Window { left: Some(0), right: None }.visible(3, 9), 3..9);
        assert_eq!(Window { left: None, right: Some(usize::MAX) }.visible(8, 9), 0..9);
    }
}
