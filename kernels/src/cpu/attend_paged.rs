//! Attention of single rows over page tables: self (causal, windowed) and cross alike.
//!
//! Called by [`super::Cpu`] in every decoder step. Work is shared by (row, K/V head); a head walks its pages in
//! order, so a row's sums depend on its own positions only.
#![allow(unsafe_code)]

use std::cell::RefCell;

use super::isa::{Isa, Level, for_each_isa};
use super::pages::Pages;
use super::pool::{Pool, SharedMut};
use super::product::pair_rows;
use super::rows::weigh;
use super::share::Share;
use crate::backend::{AttentionShape, PAGE_TOKENS, PageSpan, PagedRows, Precision};

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

#[derive(Default)]
struct Scratch {
    scores: Vec<f32>,
    query: Vec<u32>,
    weights: Vec<u32>,
    sums: Vec<f32>,
}

/// One call's shapes and input.
pub(super) struct Paged<'a> {
    pub isa: Isa,
    pub pool: &'a Pool,
    pub shape: &'a AttentionShape,
    pub rows: PagedRows<'a>,
    /// Rows that begin with the queries.
    pub q: &'a [f32],
    /// Width of a row of `q`.
    pub q_width: usize,
    pub layer: usize,
    pub pages: &'a Pages,
}

/// Least cost (positions times heads) that is worth waking the other threads for.
const LEAST_COST: usize = 256;

impl Paged<'_> {
    /// Attends all rows; `out` is `[rows, heads * head_dim]`.
    pub fn run(&self, out: &mut [f32]) {
        let kv_heads = self.shape.kv_heads;
        let cost = |span: &PageSpan| self.visible(span).len() + 1;
        let total = self.rows.spans.iter().map(|span| cost(span) * kv_heads).sum();
        let out = SharedMut::new(out);
        let work = |thread, threads| {
            let mut share = Share::new(thread, threads, total);
            SCRATCH.with_borrow_mut(|scratch| {
                for (row, span) in self.rows.spans.iter().enumerate() {
                    for kv_head in 0..kv_heads {
                        if share.takes(cost(span)) {
                            self.attend(row, kv_head, scratch, &out);
                        }
                    }
                }
            });
        };
        if total < LEAST_COST { work(0, 1) } else { self.pool.run(&|thread| work(thread, self.pool.threads())) }
    }

    fn visible(&self, span: &PageSpan) -> std::ops::Range<usize> {
        let tokens = span.tokens as usize;
        tokens.saturating_sub(self.shape.window.unwrap_or(tokens))..tokens
    }

    /// All query heads that share one K/V head, for one row.
    fn attend(&self, row: usize, kv_head: usize, scratch: &mut Scratch, out: &SharedMut<'_, f32>) {
        let span = &self.rows.spans[row];
        let dim = self.shape.head_dim;
        let group = self.shape.heads / self.shape.kv_heads;
        let start = row * self.shape.query_width() + kv_head * group * dim;
        // SAFETY: this thread alone owns these heads of this row.
        let out = unsafe { out.slice(start..start + group * dim) };
        out.fill(0.0);
        let visible = self.visible(span);
        if visible.is_empty() {
            return;
        }
        let first_page = visible.start / PAGE_TOKENS;
        let pages = &self.rows.tables[span.first as usize..][first_page..visible.end.div_ceil(PAGE_TOKENS)];
        let strip = pages.len() * PAGE_TOKENS;
        let query = &self.q[row * self.q_width + kv_head * group * dim..][..group * dim];
        self.score(query, pages, kv_head, scratch);
        let hidden = visible.start - first_page * PAGE_TOKENS;
        let seen = hidden..hidden + visible.len();
        scratch.sums.clear();
        for scores in scratch.scores.chunks_exact_mut(strip) {
            scores[..seen.start].fill(0.0);
            scores[seen.end..].fill(0.0);
            let sum = weigh(self.isa, &mut scores[seen.clone()], self.shape.scale, self.shape.softcap);
            scratch.sums.push(sum);
        }
        self.combine(seen.end, (pages, kv_head), scratch, out);
        for (out, sum) in out.chunks_exact_mut(dim).zip(&scratch.sums) {
            out.iter_mut().for_each(|value| *value /= sum);
        }
    }

    fn head(&self, page: u32, kv_head: usize) -> (&[u32], &[u32]) {
        let half = self.pages.half_words();
        self.pages.data[self.pages.head_start(page, self.layer, kv_head)..][..2 * half].split_at(half)
    }

    fn dots(&self) -> bool {
        self.isa.level() == Level::Avx512Bf16
    }

    /// `scores[query head][position] = query . key`.
    fn score(&self, query: &[f32], pages: &[u32], kv_head: usize, scratch: &mut Scratch) {
        let dim = self.shape.head_dim;
        let strip = pages.len() * PAGE_TOKENS;
        scratch.scores.clear();
        scratch.scores.resize(query.len() / dim * strip, 0.0);
        if self.dots() && self.pages.precision == Precision::Bf16 {
            scratch.query.clear();
            scratch.query.resize(query.len() / 2, 0);
            pair_rows(self.isa, query, &mut scratch.query);
        }
        for (index, &page) in pages.iter().enumerate() {
            let (keys, _) = self.head(page, kv_head);
            for (head, query) in query.chunks_exact(dim).enumerate() {
                let scores = &mut scratch.scores[head * strip + index * PAGE_TOKENS..][..PAGE_TOKENS];
                match self.pages.precision {
                    Precision::F32 => dot_keys_f32(self.isa, query, keys, scores),
                    Precision::Bf16 if self.dots() => {
                        x86::dot_keys(self.isa, &scratch.query[head * dim / 2..][..dim / 2], keys, scores);
                    }
                    Precision::Bf16 => dot_keys_widened(self.isa, query, keys, scores),
                }
            }
        }
    }

    /// `out += weights . values` over the first `len` positions of each head's strip. Pages come outermost: the heads
    /// of a group share what is read.
    fn combine(&self, len: usize, (pages, kv_head): (&[u32], usize), scratch: &mut Scratch, out: &mut [f32]) {
        let (dim, strip) = (self.shape.head_dim, pages.len() * PAGE_TOKENS);
        let dots = self.dots() && self.pages.precision == Precision::Bf16;
        if dots {
            scratch.weights.clear();
            scratch.weights.resize(scratch.scores.len() / 2, 0);
            pair_rows(self.isa, &scratch.scores, &mut scratch.weights);
        }
        for (index, &page) in pages.iter().enumerate() {
            let (_, values) = self.head(page, kv_head);
            let count = PAGE_TOKENS.min(len - index * PAGE_TOKENS);
            for (head, out) in out.chunks_exact_mut(dim).enumerate() {
                let start = head * strip + index * PAGE_TOKENS;
                let weights = &scratch.scores[start..start + count];
                match self.pages.precision {
                    Precision::F32 => add_values_f32(self.isa, weights, values, out),
                    Precision::Bf16 if dots => {
                        let paired = &scratch.weights[start / 2..][..count.div_ceil(2)];
                        x86::add_values(self.isa, paired, count, values, out);
                    }
                    Precision::Bf16 => add_values_widened(self.isa, weights, values, out),
                }
            }
        }
    }
}

for_each_isa! {
    fn dot_keys_f32(query: &[f32], keys: &[u32], scores: &mut [f32]) {
        let mut sums = [0.0_f32; PAGE_TOKENS];
        for (q, keys) in query.iter().zip(keys.as_chunks::<PAGE_TOKENS>().0) {
            for lane in 0..PAGE_TOKENS {
                sums[lane] += q * f32::from_bits(keys[lane]);
            }
        }
        scores.copy_from_slice(&sums);
    }
}

for_each_isa! {
    fn dot_keys_widened(query: &[f32], keys: &[u32], scores: &mut [f32]) {
        let mut sums = [0.0_f32; PAGE_TOKENS];
        for (q, keys) in query.as_chunks::<2>().0.iter().zip(keys.as_chunks::<PAGE_TOKENS>().0) {
            for lane in 0..PAGE_TOKENS {
                sums[lane] += q[0] * f32::from_bits(keys[lane] << 16);
                sums[lane] += q[1] * f32::from_bits(keys[lane] & 0xffff_0000);
            }
        }
        scores.copy_from_slice(&sums);
    }
}

for_each_isa! {
    fn add_values_f32(weights: &[f32], values: &[u32], out: &mut [f32]) {
        for (weight, values) in weights.iter().zip(values.chunks_exact(out.len())) {
            for (out, value) in out.iter_mut().zip(values) {
                *out += weight * f32::from_bits(*value);
            }
        }
    }
}

for_each_isa! {
    fn add_values_widened(weights: &[f32], values: &[u32], out: &mut [f32]) {
        for (pair, values) in weights.chunks(2).zip(values.chunks_exact(out.len())) {
            for (out, value) in out.iter_mut().zip(values) {
                *out += pair[0] * f32::from_bits(value << 16);
            }
            // The odd position of the last pair may hold anything, NaN included.
            let Some(odd) = pair.get(1) else { return };
            for (out, value) in out.iter_mut().zip(values) {
                *out += odd * f32::from_bits(value & 0xffff_0000);
            }
        }
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod x86 {
    use super::Isa;

    pub fn dot_keys(_: Isa, _: &[u32], _: &[u32], _: &mut [f32]) {
        unreachable!("no bfloat16 dot products on this architecture");
    }
    pub fn add_values(_: Isa, _: &[u32], _: usize, _: &[u32], _: &mut [f32]) {
        unreachable!("no bfloat16 dot products on this architecture");
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{Isa, Level, PAGE_TOKENS};

    /// `scores[i] = query . keys[i]` for the 16 positions of a page, over bfloat16 pairs.
    pub fn dot_keys(isa: Isa, query: &[u32], keys: &[u32], scores: &mut [f32]) {
        assert!(isa.level() == Level::Avx512Bf16 && scores.len() == PAGE_TOKENS);
        assert!(keys.len() >= query.len() * PAGE_TOKENS);
        // SAFETY: the `Isa` proves the instructions; lengths were checked.
        unsafe { dot_keys_512(query, keys, scores) }
    }

    /// `out += weights . values`, the weights of `count` positions as bfloat16 pairs.
    pub fn add_values(isa: Isa, weights: &[u32], count: usize, values: &[u32], out: &mut [f32]) {
        assert!(isa.level() == Level::Avx512Bf16 && weights.len() == count.div_ceil(2));
        assert!(values.len() >= weights.len() * out.len());
        // SAFETY: the `Isa` proves the instructions; lengths were checked.
        unsafe { add_values_512(weights, count, values, out) }
    }

    #[inline(always)]
    fn bits(words: __m512i) -> __m512bh {
        // SAFETY: both types are 64 plain bytes.
        unsafe { std::mem::transmute::<__m512i, __m512bh>(words) }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
    unsafe fn dot_keys_512(query: &[u32], keys: &[u32], scores: &mut [f32]) {
        // SAFETY: lengths by the caller's checks.
        unsafe {
            let mut sum = _mm512_setzero_ps();
            for (unit, &q) in query.iter().enumerate() {
                let key = _mm512_loadu_si512(keys.as_ptr().add(unit * PAGE_TOKENS).cast());
                let q = _mm512_set1_epi32(q as i32);
                sum = _mm512_dpbf16_ps(sum, bits(q), bits(key));
            }
            _mm512_storeu_ps(scores.as_mut_ptr(), sum);
        }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
    unsafe fn add_values_512(weights: &[u32], count: usize, values: &[u32], out: &mut [f32]) {
        let width = out.len();
        for column in (0..width).step_by(16) {
            let lanes = (width - column).min(16);
            let mask = ((1_u32 << lanes) - 1) as u16;
            // SAFETY: lengths by the caller's checks, columns past the width masked off.
            unsafe {
                let mut sum = _mm512_maskz_loadu_ps(mask, out.as_ptr().add(column));
                for (pair, &weight) in weights.iter().enumerate() {
                    let mut value = _mm512_maskz_loadu_epi32(mask, values.as_ptr().add(pair * width + column).cast());
                    if 2 * pair + 1 == count {
                        // The odd position of the last pair may hold anything, NaN included.
                        value = _mm512_and_si512(value, _mm512_set1_epi32(0xffff));
                    }
                    let weight = _mm512_set1_epi32(weight as i32);
                    sum = _mm512_dpbf16_ps(sum, bits(weight), bits(value));
                }
                _mm512_mask_storeu_ps(out.as_mut_ptr().add(column), mask, sum);
            }
        }
    }
}
