//! One task of attention: a row's key head with its query heads, a block of queries at a time.
//!
//! Called by `attention`. A block's scores are a strip `[queries * group, keys of the source, then those of the row
//! itself that any of the queries sees]`.

use std::ops::Range;

use super::heads::{self, Rope};
use super::{Attended, AttendedRef, Attention, HeadGradients, Row};
use crate::gradient::dropout::RowMask;
use crate::gradient::lanes::{dot, largest, map_and_sum};
use crate::gradient::{Matrix, MatrixMut, Product, Workers};
use crate::isa::{Isa, for_each_isa};
use crate::math;

/// Approximate number of scores of a block: two such strips stay in the second-level cache.
const BLOCK_SCORES: usize = 1 << 16;
/// Fewest queries of a block, so that products stay efficient, and most queries.
const BLOCK_QUERIES: [usize; 2] = [16, 128];

/// Part of its block's strip of scores that a query head sees, and its softmax.
#[derive(Clone, Copy)]
struct Sight {
    /// First and past the last column.
    start: usize,
    end: usize,
    /// Number of columns of the source, which are the first of the strip.
    source: usize,
    /// Columns between those of the source and the first of the row itself that is seen.
    hidden: usize,
    /// Key of the first column of the row itself.
    first_key: usize,
    mask: Option<RowMask>,
    /// Logarithm of the sum of exponentials.
    log_sum: f32,
    /// Forward: one over the sum. Backward: `d_out . out`, which is subtracted from the gradient of every score.
    number: f32,
}

impl Sight {
    /// Dropout factor of the weight at a column of the sight.
    #[inline(always)]
    fn factor(&self, column: usize) -> f32 {
        let column = self.start + column;
        let key = if column < self.source { column } else { self.first_key + column };
        self.mask.map_or(1.0, |mask| mask.factor(key as u32))
    }

    /// Sets what the head does not see between the source and the row itself, inside the part that it sees.
    #[inline(always)]
    fn fill_hidden(&self, seen: &mut [f32], value: f32) {
        if self.hidden > 0 {
            seen[self.source..self.source + self.hidden].fill(value);
        }
    }
}

#[inline(always)]
fn cap_scores(scores: &mut [f32], cap: f32) {
    let mut magnitude = 0;
    for score in scores.iter() {
        magnitude = magnitude.max(score.to_bits() & 0x7fff_ffff);
    }
    // Scores are mostly far below the cap; what is no number counts as large.
    if f32::from_bits(magnitude) / cap < math::TANH_SMALL {
        for score in scores {
            *score = cap * math::tanh_small(*score / cap);
        }
    } else {
        for score in scores {
            *score = math::softcap(*score, cap);
        }
    }
}

for_each_isa! {
    /// Turns scores into softmax weights before division.
    fn weigh(strip: &mut [f32], width: usize, sights: &mut [Sight], softcap: Option<f32>) {
        for (row, sight) in strip.chunks_exact_mut(width).zip(sights) {
            row[..sight.start].fill(0.0);
            row[sight.end..].fill(0.0);
            let scores = &mut row[sight.start..sight.end];
            if let Some(cap) = softcap {
                cap_scores(scores, cap);
            }
            sight.fill_hidden(scores, f32::NEG_INFINITY);
            let max = largest(scores);
            let sum = map_and_sum(scores, |score| math::exp(score - max));
            sight.log_sum = max + sum.ln();
            sight.number = if sum > 0.0 { 1.0 / sum } else { 0.0 };
            if sight.mask.is_some() {
                for (column, score) in scores.iter_mut().enumerate() {
                    *score *= sight.factor(column);
                }
            }
        }
    }
}

for_each_isa! {
    /// Turns scores into softmax weights, and the gradients of those into gradients of the scores.
    fn weigh_back(strip: &mut [f32], d_strip: &mut [f32], width: usize, sights: &[Sight], softcap: Option<f32>) {
        for ((row, d_row), sight) in strip.chunks_exact_mut(width).zip(d_strip.chunks_exact_mut(width)).zip(sights) {
            for row in [&mut *row, &mut *d_row] {
                row[..sight.start].fill(0.0);
                row[sight.end..].fill(0.0);
            }
            let (scores, d_scores) = (&mut row[sight.start..sight.end], &mut d_row[sight.start..sight.end]);
            let inverse_cap = softcap.map_or(0.0, |cap| 1.0 / cap);
            if let Some(cap) = softcap {
                cap_scores(scores, cap);
            }
            if sight.mask.is_some() {
                for (column, (score, d_score)) in scores.iter_mut().zip(d_scores).enumerate() {
                    let (weight, factor, ratio) =
                        (math::exp(*score - sight.log_sum), sight.factor(column), *score * inverse_cap);
                    *d_score = weight * factor.mul_add(*d_score, -sight.number) * (1.0 - ratio * ratio);
                    *score = weight * factor;
                }
            } else {
                for (score, d_score) in scores.iter_mut().zip(d_scores) {
                    let (weight, ratio) = (math::exp(*score - sight.log_sum), *score * inverse_cap);
                    *d_score = weight * (*d_score - sight.number) * (1.0 - ratio * ratio);
                    *score = weight;
                }
            }
            sight.fill_hidden(&mut row[sight.start..sight.end], 0.0);
            sight.fill_hidden(&mut d_row[sight.start..sight.end], 0.0);
        }
    }
}

/// A block of queries.
struct Block {
    queries: Range<usize>,
    /// Keys of the row itself that any of them sees.
    keys: Range<usize>,
    /// Number of the source's keys, all of which are seen.
    source: usize,
    sights: Vec<Sight>,
}

/// Columns of a block's strip whose keys lie one after another.
struct Part {
    /// First column.
    column: usize,
    /// Keys among those that were gathered, the source's first.
    keys: Range<usize>,
}

impl Block {
    /// Number of columns.
    fn width(&self) -> usize {
        self.source + self.keys.len()
    }

    /// All columns; those of the source are a part of their own if keys after them are seen by no query.
    fn parts(&self) -> impl Iterator<Item = Part> + use<> {
        let Self { source, keys: Range { start, end }, .. } = *self;
        let own = source + start..source + end;
        let (first, second) = if source > 0 && start > 0 {
            (Part { column: 0, keys: 0..source }, Some(Part { column: source, keys: own }))
        } else {
            (Part { column: 0, keys: own.start - source..own.end }, None)
        };
        std::iter::once(first).chain(second)
    }
}

/// The forward pass of one task.
#[derive(Clone, Copy)]
pub(super) struct Forward<'a> {
    pub how: &'a Attention,
    pub rope: Option<&'a Rope>,
    pub row: Row<'a>,
    pub kv_head: usize,
}

impl Forward<'_> {
    /// Output and sums of this task's heads: `[queries, group * head_dim]` and `[queries, group]`.
    pub(super) fn run(&self) -> Attended {
        let (isa, dim) = (Isa::detect(), self.how.head_dim);
        let [q, k, v] = self.gathered();
        let mut out = vec![0.0; q.len()];
        let mut log_sums = Vec::with_capacity(q.len() / dim);
        let mut strip = Vec::new();
        for mut block in self.blocks() {
            let scores = self.scores(&block, &q, &k, &mut strip);
            weigh(isa, scores, block.width().max(1), &mut block.sights, self.how.softcap);
            let out = &mut out[self.query_numbers(&block)];
            self.weighted(&block, scores, &v, 1.0, out);
            for (out, sight) in out.chunks_exact_mut(dim).zip(&block.sights) {
                out.iter_mut().for_each(|out| *out *= sight.number);
                log_sums.push(sight.log_sum);
            }
        }
        Attended { out, log_sums }
    }

    /// Queries, keys and values of this task's heads, rotated; keys and values of the source first.
    fn gathered(&self) -> [Vec<f32>; 3] {
        let (how, row, kv_head) = (self.how, self.row, self.kv_head);
        let mut q = self.gather_queries(row.q);
        let gather = |source, own| {
            let own = heads::gather(own, how.key_width(), how.head_dim, kv_head);
            if row.source.count == 0 {
                return own;
            }
            let mut all = heads::gather(source, how.key_width(), how.head_dim, kv_head);
            all.extend(own);
            all
        };
        let (mut k, v) = (gather(row.source.k, row.own.k), gather(row.source.v, row.own.v));
        if let Some(rope) = self.rope {
            rope.rotate(&mut q, how.group(), 0, 1.0);
            rope.rotate(&mut k[row.source.count * how.head_dim..], 1, 0, 1.0);
        }
        [q, k, v]
    }

    fn gather_queries(&self, rows: &[f32]) -> Vec<f32> {
        heads::gather(rows, self.how.query_width(), self.how.group() * self.how.head_dim, self.kv_head)
    }

    /// Range of a block's queries in the gathered numbers.
    fn query_numbers(&self, block: &Block) -> Range<usize> {
        let width = self.how.group() * self.how.head_dim;
        block.queries.start * width..block.queries.end * width
    }

    /// The keys or values of a part, as a matrix of the gathered numbers.
    fn keys_of<'k>(&self, part: &Part, gathered: &'k [f32]) -> Matrix<'k> {
        let dim = self.how.head_dim;
        Matrix::new(&gathered[part.keys.start * dim..part.keys.end * dim], part.keys.len(), dim)
    }

    fn blocks(&self) -> impl Iterator<Item = Block> {
        let (how, queries) = (self.how, self.row.queries);
        let [least, most] = BLOCK_QUERIES;
        let (own, source) = (self.row.own.count, self.row.source.count);
        let len = (BLOCK_SCORES / (how.group() * (own + source).max(1))).clamp(least, most);
        (0..queries).step_by(len).map(move |start| {
            let queries = start..(start + len).min(queries);
            let first = how.visible(queries.start, own);
            let last = how.visible(queries.end - 1, own);
            let keys = first.start.min(last.start)..last.end;
            let sights = queries.clone().flat_map(|query| self.sights(query, &keys)).collect();
            Block { queries, keys, source, sights }
        })
    }

    /// Sight of each head of a query on its block's keys.
    fn sights(&self, query: usize, keys: &Range<usize>) -> impl Iterator<Item = Sight> {
        let (how, group) = (self.how, self.how.group());
        let (seen, source) = (how.visible(query, self.row.own.count), self.row.source.count);
        let behind = seen.start - keys.start;
        let (start, hidden) = if source > 0 { (0, behind) } else { (behind, 0) };
        let sight = Sight {
            start,
            end: source + seen.end - keys.start,
            source,
            hidden,
            first_key: keys.start,
            mask: None,
            log_sum: 0.0,
            number: 0.0,
        };
        let row = (self.row.first_query + query) * how.heads + self.kv_head * group;
        (row..row + group).map(move |row| Sight { mask: how.dropout.map(|how| how.row(row as u64)), ..sight })
    }

    /// `scale * q . k` of a block.
    fn scores<'s>(&self, block: &Block, q: &[f32], k: &[f32], strip: &'s mut Vec<f32>) -> &'s mut [f32] {
        self.by_keys(block, &q[self.query_numbers(block)], k, self.how.scale, strip)
    }

    /// `scale * left . keys` of a block: a strip of products of each query's numbers and those of each key.
    fn by_keys<'s>(
        &self,
        block: &Block,
        left: &[f32],
        keys: &[f32],
        scale: f32,
        strip: &'s mut Vec<f32>,
    ) -> &'s mut [f32] {
        let (heads, width, dim) = (block.sights.len(), block.width(), self.how.head_dim);
        let strip = at_least(strip, heads * width);
        for part in block.parts().filter(|part| !part.keys.is_empty()) {
            let right = self.keys_of(&part, keys).transposed();
            let out = MatrixMut::strided(&mut strip[part.column..], heads, part.keys.len(), width);
            Product { left: Matrix::new(left, heads, dim), right, scale, workers: Workers::Caller }.write(out);
        }
        strip
    }

    /// `scale * strip . values` of a block, written to `out`: the sum of each query's weighted numbers of keys.
    fn weighted(&self, block: &Block, strip: &[f32], values: &[f32], scale: f32, out: &mut [f32]) {
        let (heads, width, dim) = (block.sights.len(), block.width(), self.how.head_dim);
        for part in block.parts() {
            let left = Matrix::strided(&strip[part.column..], heads, part.keys.len(), width);
            let product = Product { left, right: self.keys_of(&part, values), scale, workers: Workers::Caller };
            let out = MatrixMut::new(out, heads, dim);
            if part.column == 0 { product.write(out) } else { product.add(out) }
        }
    }

    /// Adds `scale * strip^T . right` of a block to the gradients of the gathered keys or values.
    fn add_to_keys(&self, block: &Block, strip: &[f32], right: Matrix<'_>, scale: f32, gradient: &mut [f32]) {
        let (heads, width, dim) = (block.sights.len(), block.width(), self.how.head_dim);
        for part in block.parts().filter(|part| !part.keys.is_empty()) {
            let left = Matrix::strided(&strip[part.column..], heads, part.keys.len(), width).transposed();
            let out = &mut gradient[part.keys.start * dim..part.keys.end * dim];
            let out = MatrixMut::new(out, part.keys.len(), dim);
            Product { left, right, scale, workers: Workers::Caller }.add(out);
        }
    }
}

/// The first `len` numbers of working memory.
fn at_least(memory: &mut Vec<f32>, len: usize) -> &mut [f32] {
    if memory.len() < len {
        memory.resize(len, 0.0);
    }
    &mut memory[..len]
}

/// The backward pass of one task.
pub(super) struct Backward<'a> {
    pub forward: Forward<'a>,
    /// Numbers of the whole batch.
    pub attended: AttendedRef<'a>,
    /// Numbers of the whole batch.
    pub d_out: &'a [f32],
}

/// A task's heads as matrices of their own.
struct Gathered {
    inputs: [Vec<f32>; 3],
    out: Vec<f32>,
    log_sums: Vec<f32>,
    d_out: Vec<f32>,
}

impl Backward<'_> {
    /// Gradients of this task's queries, keys and values.
    pub(super) fn run(&self) -> HeadGradients {
        let gathered = self.gathered();
        let [d_q, d_k, d_v] = gathered.inputs.each_ref().map(|input| vec![0.0; input.len()]);
        let mut gradients = HeadGradients { d_q, d_keys: [d_k, d_v] };
        let (mut strip, mut d_strip) = (Vec::new(), Vec::new());
        for block in self.forward.blocks() {
            self.block(block, &gathered, &mut gradients, [&mut strip, &mut d_strip]);
        }
        if let Some(rope) = self.forward.rope {
            let (how, source) = (self.forward.how, self.forward.row.source.count);
            rope.rotate(&mut gradients.d_q, how.group(), 0, -1.0);
            rope.rotate(&mut gradients.d_keys[0][source * how.head_dim..], 1, 0, -1.0);
        }
        gradients
    }

    fn gathered(&self) -> Gathered {
        let Forward { how, row, kv_head, .. } = self.forward;
        let tokens = row.first_query..row.first_query + row.queries;
        let numbers = tokens.start * how.query_width()..tokens.end * how.query_width();
        let sums = &self.attended.log_sums[tokens.start * how.heads..tokens.end * how.heads];
        Gathered {
            inputs: self.forward.gathered(),
            out: self.forward.gather_queries(&self.attended.out[numbers.clone()]),
            log_sums: heads::gather(sums, how.heads, how.group(), kv_head),
            d_out: self.forward.gather_queries(&self.d_out[numbers]),
        }
    }

    fn block(&self, mut block: Block, of: &Gathered, gradients: &mut HeadGradients, strips: [&mut Vec<f32>; 2]) {
        let (forward, dim) = (&self.forward, self.forward.how.head_dim);
        let heads = block.sights.len();
        let ([q, k, v], HeadGradients { d_q, d_keys: [d_k, d_v] }) = (&of.inputs, gradients);
        let queries = forward.query_numbers(&block);
        let d_out = &of.d_out[queries.clone()];
        let outs = of.out[queries.clone()].chunks_exact(dim).zip(d_out.chunks_exact(dim));
        let sums = &of.log_sums[queries.start / dim..];
        for (sight, ((out, d_out), log_sum)) in block.sights.iter_mut().zip(outs.zip(sums)) {
            sight.log_sum = *log_sum;
            sight.number = dot(out, d_out);
        }
        let [strip, d_strip] = strips;
        let scores = forward.scores(&block, q, k, strip);
        let d_scores = forward.by_keys(&block, d_out, v, 1.0, d_strip);
        weigh_back(Isa::detect(), scores, d_scores, block.width().max(1), &block.sights, forward.how.softcap);
        forward.add_to_keys(&block, scores, Matrix::new(d_out, heads, dim), 1.0, d_v);
        let scale = forward.how.scale;
        forward.weighted(&block, d_scores, k, scale, &mut d_q[queries.clone()]);
        forward.add_to_keys(&block, d_scores, Matrix::new(&q[queries], heads, dim), scale, d_k);
    }
}
