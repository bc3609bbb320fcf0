//! Queries against keys and weights against values of 8-bit integers with a scale for each token.
//!
//! Called by `attend_paged`, once for each head of a page. Where there are products of 8-bit integers, queries and
//! weights become integers of 16 bits in two halves, so that only what is stored is coarse; elsewhere the integers are
//! widened.

use super::Isa;
use crate::cpu::pages::INT8_TOKENS;
use crate::isa::for_each_isa;
use crate::math::ROUND;
use crate::quantize::{factors, largest};
#[cfg(target_arch = "x86_64")]
mod x86;

/// Stored value of a key of zero.
const ZERO: i32 = 128;
/// Largest integer of a query: its high half fills a signed byte.
const QUERY_LIMIT: f32 = 127.0 * 256.0;
/// Largest integer of a weight: both halves fill a byte.
const WEIGHT_LIMIT: f32 = 65_535.0;
/// Queries as integers in two halves.
#[derive(Default)]
pub(super) struct Int8Query {
    /// `[head][head_dim / 4][high, low][4]` signed bytes.
    words: Vec<[u32; 2]>,
    heads: Vec<Head>,
    units: usize,
}

#[derive(Debug, Clone, Copy, Default)]
struct Head {
    scale: f32,
    /// Sums of the halves.
    sums: [i32; 2],
}

/// One query as integers.
pub(super) struct HeadQuery<'a> {
    words: &'a [[u32; 2]],
    head: Head,
}

/// A page's weights as integers.
struct Weights {
    /// `[position / 4][high, low][4]` bytes.
    words: [[u32; 2]; INT8_TOKENS / 4],
    scale: f32,
}

impl Int8Query {
    pub fn quantize(&mut self, isa: Isa, query: &[f32], head_dim: usize) {
        self.units = head_dim.div_ceil(4);
        self.heads.clear();
        self.words.resize(query.len() / head_dim * self.units, [0; 2]);
        for (query, words) in query.chunks_exact(head_dim).zip(self.words.chunks_exact_mut(self.units)) {
            self.heads.push(quantize_query(isa, query, words));
        }
    }

    pub fn head(&self, index: usize) -> HeadQuery<'_> {
        HeadQuery { words: &self.words[index * self.units..][..self.units], head: self.heads[index] }
    }
}

for_each_isa! {
    fn quantize_query(query: &[f32], words: &mut [[u32; 2]]) -> Head {
        let (inverse, scale) = factors(largest(query), QUERY_LIMIT);
        let mut sums = [0; 2];
        for (quad, word) in query.chunks(4).zip(words) {
            let mut bytes = [[0_u8; 4]; 2];
            for (k, q) in quad.iter().enumerate() {
                let q = (q * inverse + ROUND).to_bits() as u16 as i16 as i32;
                let high = (q + 128) >> 8;
                let low = q - (high << 8);
                bytes[0][k] = high as u8;
                bytes[1][k] = low as u8;
                sums[0] += high;
                sums[1] += low;
            }
            *word = bytes.map(u32::from_le_bytes);
        }
        Head { scale, sums }
    }
}

for_each_isa! {
    /// Multiplies the weights by their values' scales first.
    fn quantize_weights(weights: &mut [f32], scales: &[u32]) -> Weights {
        let mut scaled = [0.0; INT8_TOKENS];
        for ((scaled, weight), scale) in scaled.iter_mut().zip(weights).zip(scales) {
            *scaled = *weight * f32::from_bits(*scale);
        }
        let (inverse, scale) = factors(largest(&scaled), WEIGHT_LIMIT);
        let mut words = [[0; 2]; INT8_TOKENS / 4];
        for (word, quad) in words.iter_mut().zip(scaled.as_chunks::<4>().0) {
            for (k, w) in quad.iter().enumerate() {
                let w = (w * inverse + ROUND).to_bits() & 0xffff;
                word[0] |= w >> 8 << (8 * k);
                word[1] |= (w & 255) << (8 * k);
            }
        }
        Weights { words, scale }
    }
}

for_each_isa! {
    pub(super) fn dot_keys_widened(query: &[f32], keys: &[u32], scores: &mut [f32]) {
        let (keys, scales) = keys.split_at(keys.len() - INT8_TOKENS);
        let mut sums = [0.0_f32; INT8_TOKENS];
        for (quad, keys) in query.chunks(4).zip(keys.as_chunks::<INT8_TOKENS>().0) {
            for (k, q) in quad.iter().enumerate() {
                for lane in 0..INT8_TOKENS {
                    let key = (keys[lane] >> (8 * k) & 255) as i32 - ZERO;
                    sums[lane] += q * key as f32;
                }
            }
        }
        for ((score, sum), scale) in scores.iter_mut().zip(sums).zip(scales) {
            *score = sum * f32::from_bits(*scale);
        }
    }
}

for_each_isa! {
    pub(super) fn add_values_widened(weights: &mut [f32], values: &[u32], out: &mut [f32]) {
        let (values, scales) = values.split_at(values.len() - INT8_TOKENS);
        let quads = weights.chunks(4).zip(scales.chunks(4)).zip(values.chunks_exact(out.len()));
        for ((weights, scales), values) in quads {
            for (k, (weight, scale)) in weights.iter().zip(scales).enumerate() {
                let weight = weight * f32::from_bits(*scale);
                for (out, value) in out.iter_mut().zip(values) {
                    *out += weight * f32::from((value >> (8 * k)) as u8 as i8);
                }
            }
        }
    }
}

/// `scores[i] = query . keys[i]` for the positions of a page.
pub(super) fn dot_keys(isa: Isa, query: HeadQuery<'_>, keys: &[u32], scores: &mut [f32]) {
    let (keys, scales) = keys.split_at(keys.len() - INT8_TOKENS);
    x86::dot_keys(isa, query.words, query.head.sums.map(|sum| -ZERO * sum), keys, scores);
    for (score, scale) in scores.iter_mut().zip(scales) {
        *score *= query.head.scale * f32::from_bits(*scale);
    }
}

/// `out += weights . values` over the first `weights.len()` positions of a page.
pub(super) fn add_values(isa: Isa, weights: &mut [f32], values: &[u32], out: &mut [f32]) {
    let (values, scales) = values.split_at(values.len() - INT8_TOKENS);
    let quads = weights.len().div_ceil(4);
    let weights = quantize_weights(isa, weights, scales);
    x86::add_values(isa, &weights.words[..quads], weights.scale, values, out);
}

#[cfg(not(target_arch = "x86_64"))]
mod x86 {
    use super::Isa;

    pub fn dot_keys(_: Isa, _: &[[u32; 2]], _: [i32; 2], _: &[u32], _: &mut [f32]) {
        unreachable!("no 8-bit dot products on this architecture");
    }
    pub fn add_values(_: Isa, _: &[[u32; 2]], _: f32, _: &[u32], _: &mut [f32]) {
        unreachable!("no 8-bit dot products on this architecture");
    }
}
