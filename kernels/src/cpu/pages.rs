//! The page pool in memory, and writing to it.
//!
//! Read by `attend_paged`. For each page, layer and K/V head: keys with positions innermost (a query's product
//! with 16 keys is one vector, without a reduction across lanes), then values with columns innermost.
//! float32: keys `[head_dim][16]`, values `[16][head_dim]`. bfloat16: the same over pairs, of numbers for keys
//! and of positions for values: `[head_dim / 2][16][2]`, `[8][head_dim][2]`.

#![allow(unsafe_code)]

use super::buffer::Buffer;
use super::isa::{Isa, for_each_isa};
use super::pool::{ALONE, Pool, SharedMut};
use crate::backend::{PAGE_TOKENS, PageShape, PagedRows, Precision, Result};
use crate::math;

/// K and V of all positions that any sequence holds.
pub struct Pages {
    pub(crate) shape: PageShape,
    pub(crate) precision: Precision,
    pub(crate) data: Buffer<u32>,
}

impl Pages {
    /// A pool; memory is taken from the system as pages are first written.
    pub fn new(shape: PageShape, precision: Precision) -> Result<Self> {
        let words = shape.pages * page_words(shape, precision);
        Ok(Self { shape, precision, data: Buffer::zeroed(words, "the page pool")? })
    }

    /// Words of one head's keys (its values take as many).
    pub(crate) fn half_words(&self) -> usize {
        head_words(self.shape, self.precision) / 2
    }

    /// First word of a head's keys in a page.
    pub(crate) fn head_start(&self, page: u32, layer: usize, head: usize) -> usize {
        head_start((self.shape, self.precision), page, layer, head)
    }

    /// Writes K and V (columns `column ..` of rows of `width`) at each row's last position.
    pub(super) fn write(&mut self, (isa, pool): (Isa, &Pool), source: KvRows<'_>, rows: PagedRows<'_>, layer: usize) {
        let (shape, precision, half) = (self.shape, self.precision, self.half_words());
        let data = SharedMut::new(&mut self.data);
        // Threads share the heads, not the rows: two positions of a sequence may meet in one word.
        let least = if rows.spans.len() * shape.kv_heads * shape.head_dim < 4096 { ALONE } else { 2 };
        pool.split(shape.kv_heads, least, |heads| {
            for (index, span) in rows.spans.iter().enumerate() {
                let position = span.tokens as usize - 1;
                let page = rows.tables[span.first as usize + position / PAGE_TOKENS];
                let row = &source.values[index * source.width + source.column..];
                for head in heads.clone() {
                    let key = &row[head * shape.head_dim..][..shape.head_dim];
                    let value = &row[(shape.kv_heads + head) * shape.head_dim..][..shape.head_dim];
                    let start = head_start((shape, precision), page, layer, head);
                    // SAFETY: this thread alone writes these heads.
                    let (keys, values) = unsafe { data.slice(start..start + 2 * half) }.split_at_mut(half);
                    match precision {
                        Precision::F32 => write_f32(key, value, position % PAGE_TOKENS, (keys, values)),
                        Precision::Bf16 => write_bf16(isa, key, value, position % PAGE_TOKENS, keys, values),
                    }
                }
            }
        });
    }
}

/// Rows of activations that hold K, then V, from a column on.
#[derive(Clone, Copy)]
pub(super) struct KvRows<'a> {
    pub values: &'a [f32],
    pub width: usize,
    pub column: usize,
}

fn write_f32(key: &[f32], value: &[f32], slot: usize, (keys, values): (&mut [u32], &mut [u32])) {
    key.iter().enumerate().for_each(|(d, key)| keys[d * PAGE_TOKENS + slot] = key.to_bits());
    values[slot * value.len()..][..value.len()].iter_mut().zip(value).for_each(|(out, v)| *out = v.to_bits());
}

for_each_isa! {
    fn write_bf16(key: &[f32], value: &[f32], slot: usize, keys: &mut [u32], values: &mut [u32]) {
        for (pair, keys) in key.as_chunks::<2>().0.iter().zip(keys.as_chunks_mut::<PAGE_TOKENS>().0) {
            keys[slot] = u32::from(math::bf16_bits(pair[1])) << 16 | u32::from(math::bf16_bits(pair[0]));
        }
        let shift = 16 * (slot % 2);
        for (out, &value) in values[slot / 2 * value.len()..][..value.len()].iter_mut().zip(value) {
            *out = *out & !(0xffff << shift) | u32::from(math::bf16_bits(value)) << shift;
        }
    }
}

fn head_start((shape, precision): (PageShape, Precision), page: u32, layer: usize, head: usize) -> usize {
    ((page as usize * shape.layers + layer) * shape.kv_heads + head) * head_words(shape, precision)
}

/// Words of keys and values of one head in one page.
fn head_words(shape: PageShape, precision: Precision) -> usize {
    let numbers = 2 * PAGE_TOKENS * shape.head_dim;
    match precision {
        Precision::F32 => numbers,
        Precision::Bf16 => numbers / 2,
    }
}

/// Words of one page.
pub(super) fn page_words(shape: PageShape, precision: Precision) -> usize {
    shape.layers * shape.kv_heads * head_words(shape, precision)
}
