//! The page pool in memory, and writing to it.
//!
//! Read by `attend_paged`. For each page and layer: the keys of all K/V heads, then their values, so that a page is
//! read as one stretch of memory. Keys have 16 positions innermost (a query's product with 16 keys is one vector,
//! without a reduction across lanes), values have columns innermost. Narrow numbers are grouped in words, by
//! dimension for keys and by position for values:
//!
//! - float32: `[head_dim][16]` and `[16][head_dim]`.
//! - bfloat16: `[head_dim / 2][16][2]` and `[8][head_dim][2]`.
//! - int8: `[head_dim / 4][32][4]` as `q + 128` and `[8][head_dim][4]` as q, each followed by 32 scales.

#![allow(unsafe_code)]

use std::cell::Cell;
use std::ops::Range;

use super::buffer::Buffer;
use super::pool::{ALONE, Pool, SharedMut};
use super::rows::rms_norm;
use crate::error::Result;
use crate::isa::{Isa, for_each_isa};
use crate::math;
use crate::paging::{KvFormat, PAGE_TOKENS, PageCopy, PageShape, PageSpan, PagedRows};
use crate::quantize::quantize_to_127;

/// Positions whose keys stand side by side.
pub(super) const LANES: usize = PAGE_TOKENS;
/// Tokens of a page of [`KvFormat::Int8`].
pub(super) const INT8_TOKENS: usize = KvFormat::Int8.page_tokens();
/// Positions that share a word of values in [`KvFormat::Int8`].
const VALUE_TOKENS: usize = 4;

thread_local! {
    /// Bytes of a few positions before they are put in their places; kept between calls.
    static INTEGERS: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    /// Keys of a few positions after their norm; kept between calls.
    static NORMED: Cell<Vec<f32>> = const { Cell::new(Vec::new()) };
}

/// K and V of all positions that any sequence holds.
pub struct Pages {
    layout: Layout,
    data: Buffer<u32>,
}

/// Where things stand in the pool.
#[derive(Debug, Clone, Copy)]
struct Layout {
    shape: PageShape,
    page_words: usize,
}

/// One layer of a page, and the page's format.
#[derive(Debug, Clone, Copy)]
pub(super) struct LayerPage {
    pub page: u32,
    pub layer: usize,
    pub format: KvFormat,
}

/// Words that one head takes in one layer of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct HeadWords {
    pub keys: usize,
    pub values: usize,
}

impl HeadWords {
    /// Layout of pages for heads of this width.
    pub const fn new(format: KvFormat, head_dim: usize) -> Self {
        let tokens = format.page_tokens();
        let (keys, values) = match format {
            KvFormat::F32 => (tokens * head_dim, tokens * head_dim),
            KvFormat::Bf16 => (head_dim / 2 * tokens, tokens / 2 * head_dim),
            KvFormat::Int8 => (head_dim.div_ceil(4) * tokens + tokens, tokens / 4 * head_dim + tokens),
        };
        Self { keys, values }
    }
}

impl Layout {
    /// The words of a head's keys and of its values.
    fn head(self, page: LayerPage, head: usize) -> [Range<usize>; 2] {
        let (words, heads) = (HeadWords::new(page.format, self.shape.head_dim), self.shape.kv_heads);
        let layer_words = heads * (words.keys + words.values);
        assert!((page.layer + 1) * layer_words <= self.page_words, "the pool was made for other formats");
        let keys = page.page as usize * self.page_words + page.layer * layer_words;
        let (key, value) = (keys + head * words.keys, keys + heads * words.keys + head * words.values);
        [key..key + words.keys, value..value + words.values]
    }
}

impl Pages {
    /// A pool; memory is taken from the system as pages are first written.
    pub fn new(shape: PageShape, formats: &[KvFormat]) -> Result<Self> {
        let page_words = page_words(shape, formats);
        let layout = Layout { shape, page_words };
        Ok(Self { layout, data: Buffer::zeroed(shape.pages * page_words, "the page pool")? })
    }

    /// Bytes of one page of such a pool.
    pub(super) fn page_bytes(shape: PageShape, formats: &[KvFormat]) -> usize {
        page_words(shape, formats) * 4
    }

    /// Keys of a K/V head; those of the next head follow.
    pub(super) fn keys(&self, page: LayerPage, head: usize) -> &[u32] {
        let [keys, _] = self.layout.head(page, head);
        &self.data[keys]
    }

    /// Values of a K/V head; those of the next head follow.
    pub(super) fn values(&self, page: LayerPage, head: usize) -> &[u32] {
        let [_, values] = self.layout.head(page, head);
        &self.data[values]
    }

    /// Copies whole pages.
    pub(super) fn copy(&mut self, copies: &[PageCopy]) {
        let Layout { shape, page_words } = self.layout;
        PageCopy::check(copies, shape.pages);
        for copy in copies {
            let [from, to] = [copy.from, copy.to].map(|page| page as usize * page_words);
            self.data.copy_within(from..from + page_words, to);
        }
    }

    /// Writes keys and values at each row's last position.
    pub(super) fn write(&mut self, write: &PageWrite<'_>) {
        let PageWrite { isa, pool, source, rows, layer } = *write;
        let (layout, format, page_tokens) = (self.layout, rows.format, rows.format.page_tokens());
        let (kv_heads, dim) = (layout.shape.kv_heads, layout.shape.head_dim);
        let fits = |norm: KeyNorm<'_>| norm.gain.len() == dim;
        assert!(source.key_norm.is_none_or(fits), "a norm of heads is as wide as a head");
        let data = SharedMut::new(&mut self.data);
        // Threads share the heads, not the rows: two positions of a sequence may meet in one word.
        let least = if rows.spans.len() * kv_heads * dim < 4096 { ALONE } else { 2 };
        pool.split(kv_heads, least, |heads| {
            let mut integers = INTEGERS.take();
            let mut normed = NORMED.take();
            normed.resize(VALUE_TOKENS * dim, 0.0);
            let mut index = 0;
            while index < rows.spans.len() {
                let run = run_len(&rows.spans[index..], format);
                let position = rows.spans[index].tokens as usize - 1;
                let page = rows.tables[rows.spans[index].first as usize + position / page_tokens];
                let row = &source.values[index * source.width + source.column..];
                for head in heads.clone() {
                    let [keys, values] = layout.head(LayerPage { page, layer, format }, head);
                    // SAFETY: this thread alone writes these heads, and keys and values do not overlap.
                    let (keys, values) = unsafe { (data.slice(keys), data.slice(values)) };
                    let slot = position % page_tokens;
                    let tokens =
                        |column: usize| Tokens { first: &row[column..], stride: source.width, count: run, dim };
                    let (mut key, value) = (tokens(head * dim), tokens((kv_heads + head) * dim));
                    if let Some(norm) = source.key_norm {
                        key = norm.apply(isa, key, &mut normed);
                    }
                    match format {
                        KvFormat::F32 => write_f32(&key.first[..dim], &value.first[..dim], slot, keys, values),
                        KvFormat::Bf16 => write_bf16(isa, &key.first[..dim], &value.first[..dim], slot, keys, values),
                        KvFormat::Int8 => {
                            integers.resize(VALUE_TOKENS * dim, 0);
                            write_int8_keys(isa, key, slot, &mut integers, keys);
                            write_int8_values(isa, value, slot, &mut integers, values);
                        }
                    }
                }
                index += run;
            }
            INTEGERS.set(integers);
            NORMED.set(normed);
        });
    }
}

/// Rows from the first on that are written together: in int8, those of four successive positions that share words.
fn run_len(spans: &[PageSpan], format: KvFormat) -> usize {
    let starts = format == KvFormat::Int8 && (spans[0].tokens as usize - 1).is_multiple_of(VALUE_TOKENS);
    let follows =
        |(index, span): (u32, &PageSpan)| span.first == spans[0].first && span.tokens == spans[0].tokens + index;
    let whole = starts && spans.len() >= VALUE_TOKENS && (0..).zip(&spans[..VALUE_TOKENS]).all(follows);
    if whole { VALUE_TOKENS } else { 1 }
}

/// Keys and values of one layer to be written.
pub(super) struct PageWrite<'a> {
    pub isa: Isa,
    pub pool: &'a Pool,
    pub source: KvRows<'a>,
    pub rows: PagedRows<'a>,
    pub layer: usize,
}

/// Rows of activations that hold keys, then values, from a column on.
#[derive(Clone, Copy)]
pub(super) struct KvRows<'a> {
    pub values: &'a [f32],
    pub width: usize,
    pub column: usize,
    pub key_norm: Option<KeyNorm<'a>>,
}

/// Norm of each key head before it is written; `gain` is `1 + w`, as wide as a head.
#[derive(Clone, Copy)]
pub(super) struct KeyNorm<'a> {
    pub gain: &'a [f32],
    pub eps: f32,
}

impl KeyNorm<'_> {
    /// Norms one head of successive positions into `normed`.
    fn apply<'a>(&self, isa: Isa, keys: Tokens<'_>, normed: &'a mut [f32]) -> Tokens<'a> {
        let Tokens { first, stride, count, dim } = keys;
        for (token, out) in (0..count).zip(normed.chunks_exact_mut(dim)) {
            rms_norm(isa, &first[token * stride..][..dim], self.gain, self.eps, out);
        }
        Tokens { first: normed, stride: dim, count, dim }
    }
}

fn write_f32(key: &[f32], value: &[f32], slot: usize, keys: &mut [u32], values: &mut [u32]) {
    key.iter().enumerate().for_each(|(d, key)| keys[d * LANES + slot] = key.to_bits());
    values[slot * value.len()..][..value.len()].iter_mut().zip(value).for_each(|(out, v)| *out = v.to_bits());
}

for_each_isa! {
    fn write_bf16(key: &[f32], value: &[f32], slot: usize, keys: &mut [u32], values: &mut [u32]) {
        for (pair, keys) in key.as_chunks::<2>().0.iter().zip(keys.as_chunks_mut::<LANES>().0) {
            keys[slot] = u32::from(math::bf16_bits(pair[1])) << 16 | u32::from(math::bf16_bits(pair[0]));
        }
        let shift = 16 * (slot % 2);
        for (out, &value) in values[slot / 2 * value.len()..][..value.len()].iter_mut().zip(value) {
            *out = *out & !(0xffff << shift) | u32::from(math::bf16_bits(value)) << shift;
        }
    }
}

/// One head's keys or values of successive positions.
#[derive(Clone, Copy)]
struct Tokens<'a> {
    /// Begins with those of the first position.
    first: &'a [f32],
    /// Distance between positions.
    stride: usize,
    /// 1 or [`VALUE_TOKENS`].
    count: usize,
    /// Width of the head.
    dim: usize,
}

impl Tokens<'_> {
    /// Writes integers of `dim` bytes a position and the scales.
    fn quantize(&self, isa: Isa, integers: &mut [u8], scales: &mut [u32]) {
        let Self { first, stride, count, dim } = *self;
        for ((token, integers), scale) in (0..count).zip(integers.chunks_exact_mut(dim)).zip(scales) {
            *scale = quantize_to_127(isa, &first[token * stride..][..dim], integers).scale.to_bits();
        }
    }
}

fn write_int8_keys(isa: Isa, tokens: Tokens<'_>, slot: usize, integers: &mut [u8], keys: &mut [u32]) {
    let (keys, scales) = keys.split_at_mut(keys.len() - INT8_TOKENS);
    tokens.quantize(isa, integers, &mut scales[slot..]);
    for (token, integers) in integers.chunks_exact(tokens.dim).take(tokens.count).enumerate() {
        for (quad, keys) in integers.chunks(4).zip(keys.as_chunks_mut::<INT8_TOKENS>().0) {
            let byte = |k: usize| quad.get(k).map_or(0, |q| q ^ 0x80);
            keys[slot + token] = u32::from_le_bytes([byte(0), byte(1), byte(2), byte(3)]);
        }
    }
}

fn write_int8_values(isa: Isa, tokens: Tokens<'_>, slot: usize, integers: &mut [u8], values: &mut [u32]) {
    let (values, scales) = values.split_at_mut(values.len() - INT8_TOKENS);
    tokens.quantize(isa, integers, &mut scales[slot..]);
    let values = &mut values[slot / VALUE_TOKENS * tokens.dim..][..tokens.dim];
    if tokens.count == VALUE_TOKENS {
        return interleave(isa, integers, values);
    }
    let shift = 8 * (slot % VALUE_TOKENS);
    for (out, &q) in values.iter_mut().zip(&*integers) {
        *out = *out & !(0xff << shift) | u32::from(q) << shift;
    }
}

for_each_isa! {
    /// `out[d]` is byte `d` of each of four rows, the first row lowest.
    fn interleave(rows: &[u8], out: &mut [u32]) {
        let dim = out.len();
        let (a, rest) = rows.split_at(dim);
        let (b, rest) = rest.split_at(dim);
        let (c, d) = rest.split_at(dim);
        for ((((out, a), b), c), d) in out.iter_mut().zip(a).zip(b).zip(c).zip(d) {
            *out = u32::from_le_bytes([*a, *b, *c, *d]);
        }
    }
}

/// Words of one page with room for any of the formats, whole cache lines.
fn page_words(shape: PageShape, formats: &[KvFormat]) -> usize {
    let head_words = |&format: &KvFormat| {
        let words = HeadWords::new(format, shape.head_dim);
        words.keys + words.values
    };
    let most = formats.iter().map(head_words).max().unwrap_or(0);
    (shape.layers * shape.kv_heads * most).next_multiple_of(16)
}
