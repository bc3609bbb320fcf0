//! Products of bfloat16 pairs for AVX-512 BF16, and asking the memory ahead of time.
//!
//! Called by `attend_paged`, once for each head of a page.
#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::{Isa, LANES};

const CACHE_LINE_WORDS: usize = 16;

/// Starts to bring words into the second-level cache. The processor foresees accesses only within 4 KiB.
pub(super) fn fetch(words: &[u32]) {
    for line in words.chunks(CACHE_LINE_WORDS) {
        // SAFETY: every x86-64 has it, and it reads nothing that a program could see.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(line.as_ptr().cast()) };
    }
}

/// `scores[i] = query . keys[i]` for the 16 positions of a page, over bfloat16 pairs.
pub(super) fn dot_keys(isa: Isa, query: &[u32], keys: &[u32], scores: &mut [f32]) {
    assert!(isa.level().multiplies_bf16() && scores.len() == LANES && keys.len() >= query.len() * LANES);
    // SAFETY: the `Isa` proves the instructions; lengths were checked.
    unsafe { dot_keys_512(query, keys, scores) }
}

/// `out += weights . values` over the first `end` of the 16 positions of a page; the other weights are 0.
pub(super) fn add_values(isa: Isa, weights: &[f32], end: usize, values: &[u32], out: &mut [f32]) {
    assert!(isa.level().multiplies_bf16() && weights.len() == LANES && end <= LANES);
    assert!(values.len() >= LANES / 2 * out.len());
    // SAFETY: the `Isa` proves the instructions; lengths were checked.
    unsafe { add_values_512(weights, end, values, out) }
}

#[inline(always)]
fn bits(words: __m512i) -> __m512bh {
    // SAFETY: both types are 64 plain bytes.
    unsafe { std::mem::transmute::<__m512i, __m512bh>(words) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
unsafe fn dot_keys_512(query: &[u32], keys: &[u32], scores: &mut [f32]) {
    // Four sums: one alone would wait for itself.
    let mut sums = [_mm512_setzero_ps(); 4];
    let (fours, rest) = query.as_chunks::<4>();
    // SAFETY: lengths by the caller's checks.
    unsafe {
        for (index, four) in fours.iter().enumerate() {
            for k in 0..4 {
                let key = _mm512_loadu_si512(keys.as_ptr().add((4 * index + k) * LANES).cast());
                sums[k] = _mm512_dpbf16_ps(sums[k], bits(_mm512_set1_epi32(four[k] as i32)), bits(key));
            }
        }
        for (k, &q) in rest.iter().enumerate() {
            let key = _mm512_loadu_si512(keys.as_ptr().add((4 * fours.len() + k) * LANES).cast());
            sums[k] = _mm512_dpbf16_ps(sums[k], bits(_mm512_set1_epi32(q as i32)), bits(key));
        }
        let sum = _mm512_add_ps(_mm512_add_ps(sums[0], sums[1]), _mm512_add_ps(sums[2], sums[3]));
        _mm512_storeu_ps(scores.as_mut_ptr(), sum);
    }
}

/// Vectors of columns that are summed side by side.
const COLUMNS: usize = 4;

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
unsafe fn add_values_512(weights: &[f32], end: usize, values: &[u32], out: &mut [f32]) {
    let width = out.len();
    let mut pairs = [0_u32; LANES / 2];
    // SAFETY: lengths by the caller's checks; columns past the width are masked off.
    unsafe {
        let rounded = _mm512_cvtneps_pbh(_mm512_loadu_ps(weights.as_ptr()));
        _mm256_storeu_si256(pairs.as_mut_ptr().cast(), std::mem::transmute::<__m256bh, __m256i>(rounded));
        for first in (0..width).step_by(16 * COLUMNS) {
            let masks: [u16; COLUMNS] = std::array::from_fn(|column| {
                let lanes = width.saturating_sub(first + 16 * column).min(16);
                ((1_u32 << lanes) - 1) as u16
            });
            let at = |column: usize| (first + 16 * column).min(width);
            let mut sums: [__m512; COLUMNS] = [_mm512_setzero_ps(); COLUMNS];
            for column in 0..COLUMNS {
                sums[column] = _mm512_maskz_loadu_ps(masks[column], out.as_ptr().add(at(column)));
            }
            for (pair, &weight) in pairs[..end.div_ceil(2)].iter().enumerate() {
                // The odd position of the last pair may hold anything, NaN included.
                let keep = _mm512_set1_epi32(if 2 * pair + 1 == end { 0xffff } else { -1 });
                let weight = _mm512_set1_epi32(weight as i32);
                for column in 0..COLUMNS {
                    let from = values.as_ptr().add(pair * width + at(column));
                    let value = _mm512_and_si512(_mm512_maskz_loadu_epi32(masks[column], from.cast()), keep);
                    sums[column] = _mm512_dpbf16_ps(sums[column], bits(weight), bits(value));
                }
            }
            for column in 0..COLUMNS {
                _mm512_mask_storeu_ps(out.as_mut_ptr().add(at(column)), masks[column], sums[column]);
            }
        }
    }
}
