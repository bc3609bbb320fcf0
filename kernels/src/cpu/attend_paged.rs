//! Attention of single rows over page tables: self (causal, windowed) and cross alike.
//!
//! Called by [`super::Cpu`] in every decoder step. Work is shared by rows and K/V heads. A row walks its pages in order,
//! and each page with all its heads at once, because that is one stretch of memory; nothing but the row's own positions
//! decides the order of its sums.
#![allow(unsafe_code)]

mod floats;
mod int8;
mod softmax;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::cell::RefCell;
use std::ops::Range;

use super::pages::{LANES, LayerPage, Pages};
use super::pool::{Pool, SharedMut};
use super::product::pair_rows;
use super::share::Share;
use crate::attention::PagedAttention;
use crate::isa::{Isa, Level};
use crate::paging::{KvFormat, LayerPages, PageSpan};
use int8::Int8Query;
use softmax::{PageScores, Softmax};

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

#[derive(Default)]
struct Scratch {
    /// Of one page: `[query head][position]`, scores, then weights.
    scores: Vec<f32>,
    softmax: Softmax,
    query: Query,
}

/// The queries of some heads as the products take them.
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

/// Some K/V heads of one row.
struct Item<'a> {
    heads: Range<usize>,
    /// Query heads of one K/V head.
    group: usize,
    head_dim: usize,
    /// `[query head][head_dim]`.
    query: &'a [f32],
}

/// A page in the second half of its work.
struct Step {
    place: LayerPage,
    /// What will be read after it.
    next: Option<LayerPage>,
    arithmetic: Arithmetic,
    /// Positions up to the last that is seen.
    end: usize,
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

/// Least cost (positions times heads) that is worth waking the other threads for.
const LEAST_COST: usize = 256;

impl Paged<'_> {
    /// Attends all rows; `out` is `[rows, heads * head_dim]`.
    pub fn run(&self, out: &mut [f32]) {
        let kv_heads = self.attention.shape.kv_heads;
        let cost = |span: &PageSpan| self.visible(span).len() + 1;
        let total = self.attention.side.rows.spans.iter().map(|span| cost(span) * kv_heads).sum();
        let out = SharedMut::new(out);
        let work = |thread, threads| {
            let mut share = Share::new(thread, threads, total);
            SCRATCH.with_borrow_mut(|scratch| {
                for (row, span) in self.attention.side.rows.spans.iter().enumerate() {
                    let heads = share.takes_of(kv_heads, cost(span));
                    if !heads.is_empty() {
                        self.attend(row, heads, scratch, &out);
                    }
                }
            });
        };
        if total < LEAST_COST { work(0, 1) } else { self.pool.run(&|thread| work(thread, self.pool.threads())) }
    }

    fn visible(&self, span: &PageSpan) -> Range<usize> {
        let tokens = span.tokens as usize;
        tokens.saturating_sub(self.attention.side.window.unwrap_or(tokens))..tokens
    }

    fn arithmetic(&self) -> Arithmetic {
        match (self.attention.side.rows.format, self.isa.level()) {
            (KvFormat::F32, _) => Arithmetic::F32,
            (KvFormat::Bf16, Level::Avx512Bf16) => Arithmetic::Bf16Pairs,
            (KvFormat::Bf16, _) => Arithmetic::Bf16Widened,
            (KvFormat::Int8, Level::AvxVnni | Level::Avx512Vnni | Level::Avx512Bf16) => Arithmetic::Int8Fours,
            (KvFormat::Int8, _) => Arithmetic::Int8Widened,
        }
    }

    /// All query heads of some K/V heads, for one row.
    fn attend(&self, row: usize, heads: Range<usize>, scratch: &mut Scratch, out: &SharedMut<'_, f32>) {
        let span = &self.attention.side.rows.spans[row];
        let (head_dim, group) =
            (self.attention.shape.head_dim, self.attention.shape.heads / self.attention.shape.kv_heads);
        let columns = heads.start * group * head_dim..heads.end * group * head_dim;
        let start = row * self.attention.shape.query_width();
        // SAFETY: this thread alone owns these heads of this row.
        let out = unsafe { out.slice(start + columns.start..start + columns.end) };
        out.fill(0.0);
        let visible = self.visible(span);
        if visible.is_empty() {
            return;
        }
        let item = Item { heads, group, head_dim, query: &self.q[row * self.q_width..][columns] };
        let arithmetic = self.arithmetic();
        scratch.query.prepare(self.isa, &item, arithmetic);
        let query_heads = item.heads.len() * group;
        scratch.softmax.start(query_heads);
        let page_tokens = self.attention.side.rows.format.page_tokens();
        scratch.scores.resize(query_heads * page_tokens, 0.0);
        let pages = self.pages_of(span);
        for (index, place) in pages.clone().map(|index| (index, self.place(span, index))) {
            let first = index * page_tokens;
            let seen = visible.start.saturating_sub(first)..page_tokens.min(visible.end - first);
            self.score(&item, place, arithmetic, scratch);
            let scores = &mut scratch.scores[..query_heads * page_tokens];
            let page = PageScores {
                page_tokens,
                seen: seen.clone(),
                scale: self.attention.shape.scale,
                cap: self.attention.shape.softcap,
            };
            scratch.softmax.add_page(self.isa, page, scores, out);
            let next = if index + 1 < pages.end { Some(self.place(span, index + 1)) } else { self.first_of(row + 1) };
            self.combine(&item, Step { place, next, arithmetic, end: seen.end }, scores, out);
        }
        scratch.softmax.finish(out);
    }

    /// The pages that a row sees, counted from its first.
    fn pages_of(&self, span: &PageSpan) -> Range<usize> {
        let (visible, page_tokens) = (self.visible(span), self.attention.side.rows.format.page_tokens());
        visible.start / page_tokens..visible.end.div_ceil(page_tokens)
    }

    fn place(&self, span: &PageSpan, index: usize) -> LayerPage {
        let page = self.attention.side.rows.tables[span.first as usize + index];
        LayerPage { page, layer: self.from.layer, format: self.attention.side.rows.format }
    }

    /// The first page that a row sees, if there are both.
    fn first_of(&self, row: usize) -> Option<LayerPage> {
        let span = self.attention.side.rows.spans.get(row)?;
        let first = self.pages_of(span).next()?;
        Some(self.place(span, first))
    }

    /// `scores[query head][position] = query . key`. Meanwhile the memory brings the page's values.
    fn score(&self, item: &Item<'_>, place: LayerPage, arithmetic: Arithmetic, scratch: &mut Scratch) {
        let (isa, dim, tokens) = (self.isa, item.head_dim, place.format.page_tokens());
        let Query { pairs, integers } = &scratch.query;
        for (index, scores) in scratch.scores.chunks_exact_mut(tokens).enumerate() {
            let kv_head = item.heads.start + index / item.group;
            if index % item.group == 0 {
                x86::fetch(self.from.pages.values(place, kv_head));
            }
            let keys = self.from.pages.keys(place, kv_head);
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

    /// `out += weights . values` over the first `end` positions of a page. Meanwhile the memory brings the next page's
    /// keys.
    fn combine(&self, item: &Item<'_>, step: Step, weights: &mut [f32], out: &mut [f32]) {
        let Step { place, next, arithmetic, end } = step;
        let (isa, tokens) = (self.isa, place.format.page_tokens());
        let heads = weights.chunks_exact_mut(tokens).zip(out.chunks_exact_mut(item.head_dim));
        for (index, (weights, out)) in heads.enumerate() {
            let kv_head = item.heads.start + index / item.group;
            if let (0, Some(next)) = (index % item.group, next) {
                x86::fetch(self.from.pages.keys(next, kv_head));
            }
            let values = self.from.pages.values(place, kv_head);
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
