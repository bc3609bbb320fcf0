//! Attention in its textbook form, and the pages it reads.
//!
//! Scores are `q . k * scale`, then soft-capped, then masked, then a softmax in float32, then the values.
//! Called by the reference backend only.

use super::{Pages, Reference, Rows, softcap};
use crate::backend::{AttentionShape, PAGE_TOKENS, PageShape, PageSpan, Precision, Segment};
use crate::math::round_bf16;

/// Numbers of one page.
pub(super) fn page_numbers(shape: PageShape) -> usize {
    shape.layers * 2 * shape.kv_heads * PAGE_TOKENS * shape.head_dim
}

impl Pages {
    fn start(&self, page: u32, layer: usize, head: usize, slot: usize) -> usize {
        let shape = self.shape;
        // Keys of all heads come first, then values: `head` counts through both.
        let block = (layer * 2 * shape.kv_heads + head) * PAGE_TOKENS + slot;
        page as usize * page_numbers(shape) + block * shape.head_dim
    }

    /// Writes `[k | v]` at the span's last position.
    pub(super) fn write(&mut self, kv: &[f32], span: &PageSpan, tables: &[u32], layer: usize) {
        let position = span.tokens as usize - 1;
        let page = tables[span.first as usize + position / PAGE_TOKENS];
        let dim = self.shape.head_dim;
        for (head, values) in kv.chunks(dim).take(2 * self.shape.kv_heads).enumerate() {
            let start = self.start(page, layer, head, position % PAGE_TOKENS);
            for (out, &value) in self.data[start..start + dim].iter_mut().zip(values) {
                *out = if self.precision == Precision::Bf16 { round_bf16(value) } else { value };
            }
        }
    }

    fn read(&self, span: &PageSpan, tables: &[u32], position: usize, layer: usize, head: usize) -> &[f32] {
        let page = tables[span.first as usize + position / PAGE_TOKENS];
        &self.data[self.start(page, layer, head, position % PAGE_TOKENS)..][..self.shape.head_dim]
    }
}

/// One head's output: `keys` and `values` are what the query sees, in order.
fn attend(
    reference: Reference,
    query: &[f32],
    (keys, values): (&[&[f32]], &[&[f32]]),
    (shape, precision): (&AttentionShape, Precision),
) -> Vec<f32> {
    let round = |x: f32| reference.operand(precision, x);
    let score = |key: &&[f32]| {
        let dot = query.iter().zip(*key).fold(0.0, |sum, (q, k)| sum + round(*q) * round(*k));
        softcap(dot * shape.scale, shape.softcap)
    };
    let scores: Vec<f32> = keys.iter().map(score).collect();
    let max = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let weights: Vec<f32> = scores.iter().map(|s| (s - max).exp()).collect();
    let sum: f32 = weights.iter().sum();
    let mut out = vec![0.0; shape.head_dim];
    for (weight, value) in weights.iter().zip(values) {
        out.iter_mut().zip(*value).for_each(|(out, v)| *out += round(*weight) * round(*v));
    }
    out.iter_mut().for_each(|out| *out /= sum);
    out
}

/// All heads of one query of a segment.
pub(super) fn full(
    reference: Reference,
    qkv: &Rows,
    segment: &Segment,
    query: usize,
    (shape, precision): (&AttentionShape, Precision),
) -> Vec<f32> {
    let (dim, len) = (shape.head_dim, segment.len as usize);
    let row = |position: usize| qkv.row(segment.start as usize + position);
    let visible = |&position: &usize| shape.window.is_none_or(|window| position.abs_diff(query) <= window);
    let mut out = Vec::new();
    for head in 0..shape.heads {
        let kv_head = head / (shape.heads / shape.kv_heads);
        let key_column = shape.query_width() + kv_head * dim;
        let value_column = key_column + shape.kv_width();
        let keys: Vec<&[f32]> = (0..len).filter(visible).map(|p| &row(p)[key_column..][..dim]).collect();
        let values: Vec<&[f32]> = (0..len).filter(visible).map(|p| &row(p)[value_column..][..dim]).collect();
        out.extend(attend(reference, &row(query)[head * dim..][..dim], (&keys, &values), (shape, precision)));
    }
    out
}

/// All heads of one row over its pages.
pub(super) fn paged(
    reference: Reference,
    q: &[f32],
    (span, tables): (&PageSpan, &[u32]),
    shape: &AttentionShape,
    (pages, layer): (&Pages, usize),
) -> Vec<f32> {
    let tokens = span.tokens as usize;
    let visible = tokens.saturating_sub(shape.window.unwrap_or(tokens))..tokens;
    if visible.is_empty() {
        return vec![0.0; shape.query_width()];
    }
    let mut out = Vec::new();
    for head in 0..shape.heads {
        let kv_head = head / (shape.heads / shape.kv_heads);
        let keys: Vec<&[f32]> = visible.clone().map(|p| pages.read(span, tables, p, layer, kv_head)).collect();
        let values: Vec<&[f32]> =
            visible.clone().map(|p| pages.read(span, tables, p, layer, shape.kv_heads + kv_head)).collect();
        let query = &q[head * shape.head_dim..][..shape.head_dim];
        out.extend(attend(reference, query, (&keys, &values), (shape, pages.precision)));
    }
    out
}
