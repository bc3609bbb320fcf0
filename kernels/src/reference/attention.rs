//! Attention in its textbook form.
//!
//! Scores are `q . k * scale`, then soft-capped, then masked, then a softmax in float32, then the values.

use super::activations::Activations;
use super::device::{Reference, Rounding};
use super::formulas::{rms_norm, softcap};
use super::pages::{HeadPosition, Pages};
use crate::attention::{AttentionShape, FullAttention, PagedAttention, STRIP_KEYS, Segment};
use crate::backend::{AttentionOps, KvColumns, Norm};
use crate::number::Precision;
use crate::paging::{KvFormat, LayerPages, LayerPagesMut, PageCopy, PagedRows};

impl AttentionOps for Reference {
    fn write_pages(&self, kv: KvColumns<'_, Activations, Vec<f32>>, rows: PagedRows<'_>, to: LayerPagesMut<'_, Pages>) {
        for (index, span) in rows.spans.iter().enumerate() {
            let mut own = kv.rows.row(index)[kv.first..].to_vec();
            if let Some(Norm { gain, eps }) = kv.key_norm {
                for key in own.chunks_mut(gain.len()).take(to.pages.kv_heads()) {
                    key.copy_from_slice(&rms_norm(key, gain, eps));
                }
            }
            to.pages.write(&own, span, rows, to.layer);
        }
    }

    fn copy_pages(&self, copies: &[PageCopy], pages: &mut Pages) {
        pages.copy(copies);
    }

    fn attend_full(
        &self,
        qkv: &Activations,
        segments: &[Segment],
        attention: FullAttention<'_>,
        out: &mut Activations,
    ) {
        for segment in segments {
            for query in attention.queries.of(segment) {
                let values = self.full_row(qkv, segment, query, attention);
                out.set(segment.start as usize + query, &values);
            }
        }
    }

    fn attend_paged(
        &self,
        q: &Activations,
        attention: PagedAttention<'_>,
        from: LayerPages<'_, Pages>,
        out: &mut Activations,
    ) {
        for row in 0..attention.rows() {
            out.set(row, &self.paged_row(q.row(row), row, attention, &from));
        }
    }
}

impl Reference {
    /// All heads of one query of a segment.
    fn full_row(&self, qkv: &Activations, segment: &Segment, query: usize, attention: FullAttention<'_>) -> Vec<f32> {
        let FullAttention { shape, window, precision, .. } = attention;
        let dim = shape.head_dim;
        let is_long = window.longest(segment.len as usize) > STRIP_KEYS;
        let base: fn(f32) -> f64 = if is_long { whole_powers_of_two } else { f64::from };
        let row = |position: usize| qkv.row(segment.start as usize + position);
        let mut out = Vec::new();
        for head in 0..shape.heads {
            let kv_head = head / (shape.heads / shape.kv_heads);
            let key_column = shape.query_width() + kv_head * dim;
            let value_column = key_column + shape.kv_width();
            let mut softmax = Softmax::new(*self, shape, &row(query)[head * dim..][..dim]);
            for position in window.visible(query, segment.len as usize) {
                let row = row(position);
                softmax.add(precision, &row[key_column..][..dim], &row[value_column..][..dim]);
            }
            out.extend(softmax.finish(base));
        }
        out
    }

    /// All heads of one row over the pages of all sides.
    fn paged_row(
        &self,
        q: &[f32],
        row: usize,
        attention: PagedAttention<'_>,
        from: &LayerPages<'_, Pages>,
    ) -> Vec<f32> {
        let (shape, layer) = (attention.shape, from.layer);
        let mut out = Vec::new();
        for head in 0..shape.heads {
            let key_head = head / (shape.heads / shape.kv_heads);
            let mut softmax = Softmax::new(*self, shape, &q[head * shape.head_dim..][..shape.head_dim]);
            for side in attention.sides() {
                let (rows, precision) = (side.rows, self.paged_precision(side.rows.format));
                for position in side.visible(row) {
                    let read = |head| from.pages.read(&rows.spans[row], rows, HeadPosition { layer, head, position });
                    softmax.add(precision, read(key_head), read(shape.kv_heads + key_head));
                }
            }
            out.extend(softmax.finish(whole_powers_of_two));
        }
        out
    }

    /// Precision of products with pages of a format. Where rows and pages are kept in bfloat16 they are operands as
    /// they are, and single rows need no tensor cores: their weights stay in float32.
    fn paged_precision(self, format: KvFormat) -> Precision {
        let is_rounded = format == KvFormat::Bf16 && self.rounding != Rounding::Rows;
        if is_rounded { Precision::Bf16 } else { Precision::F32 }
    }
}

/// Keys and values that one head of a query sees, in order.
struct Softmax<'a> {
    reference: Reference,
    shape: &'a AttentionShape,
    query: &'a [f32],
    scores: Vec<f32>,
    values: Vec<Seen<'a>>,
}

/// A value, and the precision it is multiplied in.
struct Seen<'a> {
    value: &'a [f32],
    precision: Precision,
}

impl<'a> Softmax<'a> {
    const fn new(reference: Reference, shape: &'a AttentionShape, query: &'a [f32]) -> Self {
        Self { reference, shape, query, scores: Vec::new(), values: Vec::new() }
    }

    fn add(&mut self, precision: Precision, key: &[f32], value: &'a [f32]) {
        let round = |x: f32| self.reference.operand(precision, x);
        let dot = self.query.iter().zip(key).fold(0.0, |sum, (q, k)| sum + round(*q) * round(*k));
        self.scores.push(softcap(dot * self.shape.scale, self.shape.softcap));
        self.values.push(Seen { value, precision });
    }

    /// The head's output; 0 where nothing is seen. Weights are `exp(score - base(max))`. Every base near the largest
    /// score gives the same softmax, but it decides how weights are rounded.
    fn finish(self, base: impl Fn(f32) -> f64) -> Vec<f32> {
        let mut out = vec![0.0; self.shape.head_dim];
        if self.scores.is_empty() {
            return out;
        }
        let base = base(self.scores.iter().copied().fold(f32::NEG_INFINITY, f32::max));
        let weights: Vec<f32> = self.scores.iter().map(|&s| (f64::from(s) - base).exp() as f32).collect();
        let sum: f32 = weights.iter().sum();
        for (weight, Seen { value, precision }) in weights.iter().zip(&self.values) {
            let round = |x: f32| self.reference.operand(*precision, x);
            out.iter_mut().zip(*value).for_each(|(out, v)| *out += round(*weight) * round(*v));
        }
        out.iter_mut().for_each(|out| *out /= sum);
        out
    }
}

/// The multiple of ln 2 nearest to the largest score. A backend that goes from page to page finds larger scores on
/// the way: its sums then change by a power of two, and no rounding falls another way.
fn whole_powers_of_two(max: f32) -> f64 {
    (f64::from(max) / std::f64::consts::LN_2).round() * std::f64::consts::LN_2
}
