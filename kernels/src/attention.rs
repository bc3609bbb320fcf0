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

    /// Most positions of a sequence of `len` that a query sees.
    pub fn longest(self, len: usize) -> usize {
        let side = |positions: Option<usize>| positions.unwrap_or(usize::MAX);
        len.min(side(self.left).saturating_add(side(self.right)).saturating_add(1))
    }
}

/// Most keys of a query in a segment for which its weights are taken relative to its largest score. Where a query may
/// see more, they are relative to a power of two near it, as in attention over pages, because backends that go over so
/// many keys in blocks find larger scores on the way. No source of the first generation is as long.
pub const STRIP_KEYS: usize = 8192;

/// Consecutive rows of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueryRows {
    /// First row.
    pub start: usize,
    /// Row after the last; rows past the end of the batch are none.
    pub end: usize,
}

impl QueryRows {
    /// All rows, however many there are.
    pub const ALL: Self = Self { start: 0, end: usize::MAX };

    /// Positions of a segment that are among the rows.
    pub fn of(self, segment: &Segment) -> Range<usize> {
        let (start, len) = (segment.start as usize, segment.len as usize);
        let position = |row: usize| row.saturating_sub(start).min(len);
        position(self.start)..position(self.end)
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
    /// Rows whose output is wanted. Keys and values are those of all rows. A backend may write other rows of the
    /// output as well.
    pub queries: QueryRows,
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
    fn rows_are_those_of_a_segment_where_they_meet_it() {
        let segment = Segment { start: 5, len: 4 };
        let of = |start, end| QueryRows { start, end }.of(&segment);
        assert_eq!([QueryRows::ALL.of(&segment), of(0, 7), of(6, 8), of(8, 20)], [0..4, 0..2, 1..3, 3..4]);
        assert!(of(0, 5).is_empty() && of(9, 12).is_empty());
    }

    #[test]
    fn a_window_ends_at_the_sequence_and_its_sides_differ() {
        assert_eq!(Window::default().visible(3, 9), 0..9);
        assert_eq!(Window::symmetric(Some(2)).visible(3, 9), 1..6);
        assert_eq!(Window { left: Some(5), right: Some(1) }.visible(3, 9), 0..5);
        assert_eq!(Window { left: Some(0), right: None }.visible(3, 9), 3..9);
        assert_eq!(Window { left: None, right: Some(usize::MAX) }.visible(8, 9), 0..9);
        assert_eq!([None, Some(4), Some(3)].map(|limit| Window::symmetric(limit).longest(9)), [9, 9, 7]);
    }
}
