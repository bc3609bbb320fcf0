//! Queries against keys and weights against values, in float32, from pages of float32 or of bfloat16 widened.
//!
//! Called by `attend_paged`, once for each head of a page.

use super::LANES;
use crate::isa::for_each_isa;

for_each_isa! {
    pub(super) fn dot_keys_f32(query: &[f32], keys: &[u32], scores: &mut [f32]) {
        let mut sums = [0.0_f32; LANES];
        for (q, keys) in query.iter().zip(keys.as_chunks::<LANES>().0) {
            for lane in 0..LANES {
                sums[lane] += q * f32::from_bits(keys[lane]);
            }
        }
        scores.copy_from_slice(&sums);
    }
}

for_each_isa! {
    pub(super) fn dot_keys_bf16(query: &[f32], keys: &[u32], scores: &mut [f32]) {
        let mut sums = [0.0_f32; LANES];
        for (q, keys) in query.as_chunks::<2>().0.iter().zip(keys.as_chunks::<LANES>().0) {
            for lane in 0..LANES {
                sums[lane] += q[0] * f32::from_bits(keys[lane] << 16);
                sums[lane] += q[1] * f32::from_bits(keys[lane] & 0xffff_0000);
            }
        }
        scores.copy_from_slice(&sums);
    }
}

for_each_isa! {
    pub(super) fn add_values_f32(weights: &[f32], values: &[u32], out: &mut [f32]) {
        for (weight, values) in weights.iter().zip(values.chunks_exact(out.len())) {
            for (out, value) in out.iter_mut().zip(values) {
                *out += weight * f32::from_bits(*value);
            }
        }
    }
}

for_each_isa! {
    pub(super) fn add_values_bf16(weights: &[f32], values: &[u32], out: &mut [f32]) {
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
