//! Attention in its textbook form, and the pages it reads.
//!
//! Scores are `q . k * scale`, then soft-capped, then masked, then a softmax in float32, then the values.
//! Called by the reference backend only.

use super::{Pages, Reference, Rounding, Rows, softcap};
use crate::backend::{AttentionShape, KvFormat, PageShape, PageSpan, PagedRows, Precision, Segment};
use crate::math::round_bf16;
use crate::quantize::{Scheme, dequantize_row, quantize_row};

impl Pages {
    pub(super) fn new(shape: PageShape, formats: &[KvFormat]) -> Self {
        let page_tokens = formats.iter().map(|format| format.page_tokens()).max().unwrap_or(0);
        let mut pages = Self { shape, page_tokens, data: Vec::new() };
        pages.data.resize(shape.pages * pages.page_numbers(), 0.0);
        pages
    }

    /// Numbers of one page.
    pub(super) fn page_numbers(&self) -> usize {
        self.shape.layers * 2 * self.shape.kv_heads * self.page_tokens * self.shape.head_dim
    }

    fn start(&self, page: u32, layer: usize, head: usize, slot: usize) -> usize {
        let shape = self.shape;
        // Keys of all heads come first, then values: `head` counts through both.
        let block = (layer * 2 * shape.kv_heads + head) * self.page_tokens + slot;
        page as usize * self.page_numbers() + block * shape.head_dim
    }

    /// Writes `[k | v]` at the span's last position.
    pub(super) fn write(&mut self, kv: &[f32], span: &PageSpan, rows: PagedRows<'_>, layer: usize) {
        let (position, tokens) = (span.tokens as usize - 1, rows.format.page_tokens());
        let page = rows.tables[span.first as usize + position / tokens];
        let dim = self.shape.head_dim;
        for (head, values) in kv.chunks(dim).take(2 * self.shape.kv_heads).enumerate() {
            let start = self.start(page, layer, head, position % tokens);
            store(rows.format, values, &mut self.data[start..start + dim]);
        }
    }

    fn read(&self, span: &PageSpan, rows: PagedRows<'_>, position: usize, layer: usize, head: usize) -> &[f32] {
        let tokens = rows.format.page_tokens();
        let page = rows.tables[span.first as usize + position / tokens];
        &self.data[self.start(page, layer, head, position % tokens)..][..self.shape.head_dim]
    }
}

/// One head's key or value as a page gives it back.
fn store(format: KvFormat, values: &[f32], out: &mut [f32]) {
    match format {
        KvFormat::F32 => out.copy_from_slice(values),
        KvFormat::Bf16 => out.iter_mut().zip(values).for_each(|(out, &value)| *out = round_bf16(value)),
        KvFormat::Int8 => {
            let (mut integers, mut scale) = (vec![0; values.len()], [0; 4]);
            quantize_row(Scheme::Int8, values, &mut integers, &mut scale);
            dequantize_row(Scheme::Int8, &integers, &scale, out);
        }
    }
}

/// One head's output: `keys` and `values` are what the query sees, in order. Weights are `exp(score - base(max))`:
/// any base near the largest score gives the same softmax, but it decides how weights are rounded.
fn attend(
    reference: Reference,
    query: &[f32],
    (keys, values): (&[&[f32]], &[&[f32]]),
    (shape, precision): (&AttentionShape, Precision),
    base: impl Fn(f32) -> f64,
) -> Vec<f32> {
    let round = |x: f32| reference.operand(precision, x);
    let score = |key: &&[f32]| {
        let dot = query.iter().zip(*key).fold(0.0, |sum, (q, k)| sum + round(*q) * round(*k));
        softcap(dot * shape.scale, shape.softcap)
    };
    let scores: Vec<f32> = keys.iter().map(score).collect();
    let base = base(scores.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let weights: Vec<f32> = scores.iter().map(|&s| (f64::from(s) - base).exp() as f32).collect();
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
        out.extend(attend(
            reference,
            &row(query)[head * dim..][..dim],
            (&keys, &values),
            (shape, precision),
            f64::from,
        ));
    }
    out
}

/// All heads of one row over its pages.
pub(super) fn paged(
    reference: Reference,
    q: &[f32],
    (span, rows): (&PageSpan, PagedRows<'_>),
    shape: &AttentionShape,
    (pages, layer): (&Pages, usize),
) -> Vec<f32> {
    let tokens = span.tokens as usize;
    let visible = tokens.saturating_sub(shape.window.unwrap_or(tokens))..tokens;
    if visible.is_empty() {
        return vec![0.0; shape.query_width()];
    }
    // Rows and pages that are kept in bfloat16 are operands as they are, and single rows need no tensor cores: their weights
    // stay in float32.
    let is_rounded = rows.format == KvFormat::Bf16 && reference.rounding != Rounding::Rows;
    let precision = if is_rounded { Precision::Bf16 } else { Precision::F32 };
    let mut out = Vec::new();
    for head in 0..shape.heads {
        let kv_head = head / (shape.heads / shape.kv_heads);
        let keys: Vec<&[f32]> = visible.clone().map(|p| pages.read(span, rows, p, layer, kv_head)).collect();
        let values: Vec<&[f32]> =
            visible.clone().map(|p| pages.read(span, rows, p, layer, shape.kv_heads + kv_head)).collect();
        let query = &q[head * shape.head_dim..][..shape.head_dim];
        out.extend(attend(reference, query, (&keys, &values), (shape, precision), whole_powers_of_two));
    }
    out
}

/// The multiple of ln 2 next to the largest score. A backend that goes from page to page finds larger scores on the way:
/// what it has by then changes by a power of two, and no rounding falls another way.
fn whole_powers_of_two(max: f32) -> f64 {
    (f64::from(max) / std::f64::consts::LN_2).round() * std::f64::consts::LN_2
}
