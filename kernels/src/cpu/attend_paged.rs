//! Attention of single rows over page tables: self (causal, windowed), cross, or both under one softmax.
//!
//! Called by `ops::attention` in every decoder step. Threads share rows and their query heads, each a stretch of them,
//! so that only where two shares meet is a K/V head read by two threads. A row walks the pages of its sides in order,
//! and each page with all its heads at once, because that is one stretch of memory. Nothing but the row's own positions
//! decides the order of its sums.
#![allow(unsafe_code)]

mod floats;
mod int8;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::cell::RefCell;
use std::ops::Range;

use super::pages::{LANES, LayerPage, Pages};
use super::pool::{Pool, SharedMut};
use super::product::pair_rows;
use super::share::Share;
use super::softmax::{BlockScores, Softmax};
use crate::attention::{AttentionShape, KvSide, PagedAttention};
use crate::isa::{Isa, Level};
use crate::paging::{KvFormat, LayerPages};
use int8::Int8Query;

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

#[derive(Default)]
struct Scratch {
    /// `[query head][position]` of one page: scores, then weights.
    scores: Vec<f32>,
    /// One for each query head.
    softmax: Vec<Softmax>,
    query: Query,
}

/// Queries of some heads in the form that products take.
#[derive(Default)]
struct Query {
    /// Pairs of bfloat16.
    pairs: Vec<u32>,
    integers: Int8Query,
}

/// One call's shapes and input.
pub(super) struct Paged<'a> {
    pub isa: Isa,
    pub pool: &'a Pool,
    pub attention: PagedAttention<'a>,
    /// Rows that begin with the queries.
    pub q: &'a [f32],
    /// Width of a row of `q`.
    pub q_width: usize,
    pub from: LayerPages<'a, Pages>,
}

/// Some query heads of one row.
struct Item<'a> {
    heads: Range<usize>,
    /// Query heads of one K/V head.
    group: usize,
    head_dim: usize,
    /// `[query head][head_dim]`.
    query: &'a [f32],
}

/// The way of one row through the pages of one side.
struct Walk<'a> {
    arithmetic: Arithmetic,
    format: KvFormat,
    layer: usize,
    /// Positions that the row sees.
    visible: Range<usize>,
    /// Its pages that hold them, counted from its first.
    pages: Range<usize>,
    /// Page indices, from `first` on those of the row.
    tables: &'a [u32],
    first: usize,
}

/// A page that a row sees positions of.
struct Visit {
    page: LayerPage,
    arithmetic: Arithmetic,
    /// Positions of the page that are seen.
    seen: Range<usize>,
}

/// How queries meet keys, and weights values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Arithmetic {
    F32,
    /// bfloat16, widened.
    Bf16Widened,
    /// Products of bfloat16 pairs.
    Bf16Pairs,
    /// 8-bit integers, widened.
    Int8Widened,
    /// Products of 8-bit integers in fours.
    Int8Fours,
}

/// Least cost, in positions times query heads, that is worth waking the other threads for.
const LEAST_COST: usize = 512;

impl Paged<'_> {
    /// Attends all rows; `out` is `[rows, heads * head_dim]`.
    pub fn run(&self, out: &mut [f32]) {
        let (rows, heads) = (self.attention.rows(), self.attention.shape.heads);
        let cost = |row| self.attention.sides().map(|side| side.visible(row).len()).sum::<usize>() + 1;
        let total = (0..rows).map(|row| cost(row) * heads).sum();
        let out = SharedMut::new(out);
        let work = |thread, threads| {
            let mut share = Share::new(thread, threads, total);
            SCRATCH.with_borrow_mut(|scratch| {
                for row in 0..rows {
                    let own = share.takes_of(heads, cost(row));
                    if !own.is_empty() {
                        self.attend(row, own, scratch, &out);
                    }
                }
            });
        };
        if total < LEAST_COST { work(0, 1) } else { self.pool.run(&|thread| work(thread, self.pool.threads())) }
    }

    fn arithmetic(&self, format: KvFormat) -> Arithmetic {
        match (format, self.isa.level()) {
            (KvFormat::F32, _) => Arithmetic::F32,
            (KvFormat::Bf16, Level::Avx512Bf16 | Level::Amx) => Arithmetic::Bf16Pairs,
            (KvFormat::Bf16, _) => Arithmetic::Bf16Widened,
            (KvFormat::Int8, Level::AvxVnni | Level::Avx512Vnni | Level::Avx512Bf16 | Level::Amx) => {
                Arithmetic::Int8Fours
            }
            (KvFormat::Int8, _) => Arithmetic::Int8Widened,
        }
    }

    /// A row's way through a side.
    fn walk<'a>(&self, side: &KvSide<'a>, row: usize) -> Walk<'a> {
        let (rows, visible) = (side.rows, side.visible(row));
        let tokens = rows.format.page_tokens();
        let pages = if visible.is_empty() { 0..0 } else { visible.start / tokens..visible.end.div_ceil(tokens) };
        Walk {
            arithmetic: self.arithmetic(rows.format),
            format: rows.format,
            layer: self.from.layer,
            visible,
            pages,
            tables: rows.tables,
            first: rows.spans[row].first as usize,
        }
    }

    /// The first page that is read of a row, from the side of this index on; none of a row that is not there.
    fn first_page(&self, row: usize, side: usize) -> Option<LayerPage> {
        if row >= self.attention.first.rows.spans.len() {
            return None;
        }
        self.attention.sides().skip(side).find_map(|side| self.walk(&side, row).first_page())
    }

    /// Some query heads of one row.
    fn attend(&self, row: usize, heads: Range<usize>, scratch: &mut Scratch, out: &SharedMut<'_, f32>) {
        let shape = self.attention.shape;
        let (head_dim, group) = (shape.head_dim, shape.heads / shape.kv_heads);
        let columns = heads.start * head_dim..heads.end * head_dim;
        let start = row * shape.query_width();
        // SAFETY: this thread alone owns these heads of this row.
        let out = unsafe { out.slice(start + columns.start..start + columns.end) };
        out.fill(0.0);
        if self.first_page(row, 0).is_none() {
            return;
        }
        let item = Item { heads, group, head_dim, query: &self.q[row * self.q_width..][columns] };
        scratch.softmax.clear();
        scratch.softmax.resize(item.heads.len(), Softmax::START);
        for (index, side) in self.attention.sides().enumerate() {
            let walk = self.walk(&side, row);
            scratch.query.prepare(self.isa, &item, walk.arithmetic);
            for page in walk.pages.clone() {
                let next = if page + 1 < walk.pages.end {
                    Some(walk.page(page + 1))
                } else {
                    self.first_page(row, index + 1).or_else(|| self.first_page(row + 1, 0))
                };
                self.visit(&item, &walk.visit(page), next, scratch, out);
            }
        }
        scratch.softmax.iter().zip(out.chunks_exact_mut(head_dim)).for_each(|(softmax, out)| softmax.finish(out));
    }

    /// Adds a page to the row's sums. Meanwhile the memory brings `next`.
    fn visit(&self, item: &Item<'_>, visit: &Visit, next: Option<LayerPage>, scratch: &mut Scratch, out: &mut [f32]) {
        let width = visit.page.format.page_tokens();
        scratch.scores.resize(item.heads.len() * width, 0.0);
        self.score(item, visit, scratch);
        let Scratch { scores, softmax, .. } = scratch;
        let AttentionShape { scale, softcap, .. } = *self.attention.shape;
        let block = BlockScores { width, seen: visit.seen.clone(), scale, cap: softcap };
        Softmax::add_block(self.isa, &block, softmax, scores, out);
        self.combine(item, visit, next, scores, out);
    }

    /// `scores[query head][position] = query . key`. Meanwhile the memory brings the page's values.
    fn score(&self, item: &Item<'_>, visit: &Visit, scratch: &mut Scratch) {
        let Visit { page, arithmetic, .. } = *visit;
        let (isa, dim, tokens) = (self.isa, item.head_dim, page.format.page_tokens());
        let Query { pairs, integers } = &scratch.query;
        for (index, scores) in scratch.scores.chunks_exact_mut(tokens).enumerate() {
            let kv_head = item.kv_head(index);
            x86::fetch(item.part(index, self.from.pages.values(page, kv_head)));
            let keys = self.from.pages.keys(page, kv_head);
            let query = &item.query[index * dim..][..dim];
            match arithmetic {
                Arithmetic::F32 => floats::dot_keys_f32(isa, query, keys, scores),
                Arithmetic::Bf16Widened => floats::dot_keys_bf16(isa, query, keys, scores),
                Arithmetic::Bf16Pairs => x86::dot_keys(isa, &pairs[index * (dim / 2)..][..dim / 2], keys, scores),
                Arithmetic::Int8Widened => int8::dot_keys_widened(isa, query, keys, scores),
                Arithmetic::Int8Fours => int8::dot_keys(isa, integers.head(index), keys, scores),
            }
        }
    }

    /// `out += weights . values` over the positions of a page up to the last that is seen. Meanwhile the memory brings
    /// the keys of the next page.
    fn combine(&self, item: &Item<'_>, visit: &Visit, next: Option<LayerPage>, weights: &mut [f32], out: &mut [f32]) {
        let Visit { page, arithmetic, seen: Range { end, .. } } = *visit;
        let (isa, tokens) = (self.isa, page.format.page_tokens());
        let heads = weights.chunks_exact_mut(tokens).zip(out.chunks_exact_mut(item.head_dim));
        for (index, (weights, out)) in heads.enumerate() {
            let kv_head = item.kv_head(index);
            if let Some(next) = next {
                x86::fetch(item.part(index, self.from.pages.keys(next, kv_head)));
            }
            let values = self.from.pages.values(page, kv_head);
            match arithmetic {
                Arithmetic::F32 => floats::add_values_f32(isa, &weights[..end], values, out),
                Arithmetic::Bf16Widened => floats::add_values_bf16(isa, &weights[..end], values, out),
                Arithmetic::Bf16Pairs => x86::add_values(isa, weights, end, values, out),
                Arithmetic::Int8Widened => int8::add_values_widened(isa, &mut weights[..end], values, out),
                Arithmetic::Int8Fours => int8::add_values(isa, &mut weights[..end], values, out),
            }
        }
    }
}

impl Item<'_> {
    /// K/V head of the query head of this index among the item's.
    fn kv_head(&self, index: usize) -> usize {
        (self.heads.start + index) / self.group
    }

    /// The part of a K/V head's words that the memory brings while this query head is computed. Those of the item with
    /// the same K/V head have a part each: the memory does not take all requests at once.
    fn part<'a>(&self, index: usize, words: &'a [u32]) -> &'a [u32] {
        let first = self.kv_head(index) * self.group;
        let alike = first.max(self.heads.start)..(first + self.group).min(self.heads.end);
        let nth = self.heads.start + index - alike.start;
        &words[words.len() * nth / alike.len()..words.len() * (nth + 1) / alike.len()]
    }
}

impl Walk<'_> {
    fn page(&self, index: usize) -> LayerPage {
        LayerPage { page: self.tables[self.first + index], layer: self.layer, format: self.format }
    }

    fn first_page(&self) -> Option<LayerPage> {
        (!self.pages.is_empty()).then(|| self.page(self.pages.start))
    }

    fn visit(&self, index: usize) -> Visit {
        let tokens = self.format.page_tokens();
        let first = index * tokens;
        let seen = self.visible.start.saturating_sub(first)..tokens.min(self.visible.end - first);
        Visit { page: self.page(index), arithmetic: self.arithmetic, seen }
    }
}

impl Query {
    fn prepare(&mut self, isa: Isa, item: &Item<'_>, arithmetic: Arithmetic) {
        match arithmetic {
            Arithmetic::Bf16Pairs => {
                self.pairs.resize(item.query.len() / 2, 0);
                pair_rows(isa, item.query, &mut self.pairs);
            }
            Arithmetic::Int8Fours => self.integers.quantize(isa, item.query, item.head_dim),
            Arithmetic::F32 | Arithmetic::Bf16Widened | Arithmetic::Int8Widened => {}
        }
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod x86 {
    use super::Isa;

    pub fn fetch(_: &[u32]) {}
    pub fn dot_keys(_: Isa, _: &[u32], _: &[u32], _: &mut [f32]) {
        unreachable!("no bfloat16 dot products on this architecture");
    }
    pub fn add_values(_: Isa, _: &[f32], _: usize, _: &[u32], _: &mut [f32]) {
        unreachable!("no bfloat16 dot products on this architecture");
    }
}
