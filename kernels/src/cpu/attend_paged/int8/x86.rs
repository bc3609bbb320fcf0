//! Products of 8-bit integers for AVX-512 VNNI and AVX-VNNI.
//!
//! Called by `attend_paged::int8`. Sums are exact, so every instruction set gives the same bits.
#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::INT8_TOKENS;
use crate::isa::{Isa, Level};

/// Positions of a vector.
const LANES: usize = 16;

/// Products of the query's integers, in two halves, with those of 32 keys; `start` makes up for the keys' zero point.
pub fn dot_keys(isa: Isa, query: &[[u32; 2]], start: [i32; 2], keys: &[u32], scores: &mut [f32]) {
    assert!(keys.len() >= query.len() * INT8_TOKENS && scores.len() == INT8_TOKENS);
    // SAFETY: the `Isa` proves the instructions; lengths were checked.
    unsafe {
        match isa.level() {
            Level::Avx512Vnni | Level::Avx512Bf16 | Level::Amx => dot_keys_512(query, start, keys, scores),
            Level::AvxVnni if has_avx512_vnni() => dot_keys_avx512_256(query, start, keys, scores),
            Level::AvxVnni => dot_keys_avx_256(query, start, keys, scores),
            level => unreachable!("{} has no 8-bit dot products", level.name()),
        }
    }
}

/// `out += scale * weights . values`, the weights of four positions each in two halves.
pub fn add_values(isa: Isa, weights: &[[u32; 2]], scale: f32, values: &[u32], out: &mut [f32]) {
    assert!(values.len() >= weights.len() * out.len());
    // SAFETY: the `Isa` proves the instructions; lengths were checked.
    unsafe {
        match isa.level() {
            Level::Avx512Vnni | Level::Avx512Bf16 | Level::Amx => add_values_512(weights, scale, values, out),
            Level::AvxVnni if has_avx512_vnni() => add_values_avx512_256(weights, scale, values, out),
            Level::AvxVnni => add_values_avx_256(weights, scale, values, out),
            level => unreachable!("{} has no 8-bit dot products", level.name()),
        }
    }
}

/// Which of the two encodings of the 256-bit product there is.
fn has_avx512_vnni() -> bool {
    is_x86_feature_detected!("avx512vnni") && is_x86_feature_detected!("avx512vl")
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn dot_keys_512(query: &[[u32; 2]], start: [i32; 2], keys: &[u32], scores: &mut [f32]) {
    let mut sums = [[_mm512_set1_epi32(start[0]), _mm512_set1_epi32(start[1])]; INT8_TOKENS / LANES];
    // SAFETY: lengths by the caller's checks.
    unsafe {
        for (unit, halves) in query.iter().enumerate() {
            let halves = halves.map(|half| _mm512_set1_epi32(half as i32));
            for (block, sums) in sums.iter_mut().enumerate() {
                let keys = _mm512_loadu_si512(keys.as_ptr().add(unit * INT8_TOKENS + block * LANES).cast());
                sums[0] = _mm512_dpbusd_epi32(sums[0], keys, halves[0]);
                sums[1] = _mm512_dpbusd_epi32(sums[1], keys, halves[1]);
            }
        }
        for (block, [high, low]) in sums.into_iter().enumerate() {
            let (high, low) = (_mm512_cvtepi32_ps(high), _mm512_cvtepi32_ps(low));
            let sum = _mm512_fmadd_ps(high, _mm512_set1_ps(256.0), low);
            _mm512_storeu_ps(scores.as_mut_ptr().add(block * LANES), sum);
        }
    }
}

/// Vectors of columns that are summed side by side.
const COLUMNS: usize = 4;

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn add_values_512(weights: &[[u32; 2]], scale: f32, values: &[u32], out: &mut [f32]) {
    let width = out.len();
    let scale = _mm512_set1_ps(scale);
    for first in (0..width).step_by(16 * COLUMNS) {
        let masks: [u16; COLUMNS] = std::array::from_fn(|column| {
            let lanes = width.saturating_sub(first + 16 * column).min(16);
            ((1_u32 << lanes) - 1) as u16
        });
        let at = |column: usize| (first + 16 * column).min(width);
        let mut sums = [[_mm512_setzero_si512(); 2]; COLUMNS];
        // SAFETY: lengths by the caller's checks; columns past the width are masked off.
        unsafe {
            for (quad, halves) in weights.iter().enumerate() {
                let halves = halves.map(|half| _mm512_set1_epi32(half as i32));
                for column in 0..COLUMNS {
                    let from = values.as_ptr().add(quad * width + at(column));
                    let values = _mm512_maskz_loadu_epi32(masks[column], from.cast());
                    sums[column][0] = _mm512_dpbusd_epi32(sums[column][0], halves[0], values);
                    sums[column][1] = _mm512_dpbusd_epi32(sums[column][1], halves[1], values);
                }
            }
            for column in 0..COLUMNS {
                let [high, low] = sums[column];
                let sum = _mm512_cvtepi32_ps(_mm512_add_epi32(_mm512_slli_epi32::<8>(high), low));
                let out = out.as_mut_ptr().add(at(column));
                let total = _mm512_fmadd_ps(sum, scale, _mm512_maskz_loadu_ps(masks[column], out));
                _mm512_mask_storeu_ps(out, masks[column], total);
            }
        }
    }
}

/// The 256-bit functions for one encoding of the product.
macro_rules! functions_256 {
    ($dot_keys:ident, $add_values:ident, $product:ident, $features:literal) => {
        #[target_feature(enable = $features)]
        unsafe fn $dot_keys(query: &[[u32; 2]], start: [i32; 2], keys: &[u32], scores: &mut [f32]) {
            for (part, scores) in scores.chunks_exact_mut(8).enumerate() {
                let mut sums = start.map(|start| _mm256_set1_epi32(start));
                // SAFETY: lengths by the caller's checks.
                unsafe {
                    for (unit, halves) in query.iter().enumerate() {
                        let keys = _mm256_loadu_si256(keys.as_ptr().add(unit * INT8_TOKENS + 8 * part).cast());
                        for (sum, half) in sums.iter_mut().zip(halves) {
                            *sum = $product(*sum, keys, _mm256_set1_epi32(*half as i32));
                        }
                    }
                    let [high, low] = sums.map(|sum| _mm256_cvtepi32_ps(sum));
                    _mm256_storeu_ps(scores.as_mut_ptr(), _mm256_fmadd_ps(high, _mm256_set1_ps(256.0), low));
                }
            }
        }

        #[target_feature(enable = $features)]
        unsafe fn $add_values(weights: &[[u32; 2]], scale: f32, values: &[u32], out: &mut [f32]) {
            let width = out.len();
            for first in (0..width).step_by(8) {
                let mut out_lanes = [0.0_f32; 8];
                let lanes = (width - first).min(8);
                let mut sums = [_mm256_setzero_si256(); 2];
                // SAFETY: lengths by the caller's checks; a part of a vector goes by way of an array.
                unsafe {
                    for (quad, halves) in weights.iter().enumerate() {
                        let from = values.as_ptr().add(quad * width + first);
                        let values = if lanes == 8 {
                            _mm256_loadu_si256(from.cast())
                        } else {
                            let mut part = [0_u32; 8];
                            part[..lanes].copy_from_slice(std::slice::from_raw_parts(from, lanes));
                            _mm256_loadu_si256(part.as_ptr().cast())
                        };
                        for (sum, half) in sums.iter_mut().zip(halves) {
                            *sum = $product(*sum, _mm256_set1_epi32(*half as i32), values);
                        }
                    }
                    let sum = _mm256_cvtepi32_ps(_mm256_add_epi32(_mm256_slli_epi32::<8>(sums[0]), sums[1]));
                    out_lanes[..lanes].copy_from_slice(&out[first..first + lanes]);
                    let total = _mm256_fmadd_ps(sum, _mm256_set1_ps(scale), _mm256_loadu_ps(out_lanes.as_ptr()));
                    _mm256_storeu_ps(out_lanes.as_mut_ptr(), total);
                }
                out[first..first + lanes].copy_from_slice(&out_lanes[..lanes]);
            }
        }
    };
}

functions_256!(dot_keys_avx512_256, add_values_avx512_256, _mm256_dpbusd_epi32, "avx2,fma,avx512f,avx512vl,avx512vnni");
functions_256!(dot_keys_avx_256, add_values_avx_256, _mm256_dpbusd_avx_epi32, "avx2,fma,avxvnni");
