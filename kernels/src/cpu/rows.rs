//! Row-wise ops: norms, rotation, gated activation, lookups.
//!
//! Called by [`super::Cpu`]. Each is a plain function over slices, compiled per instruction set; sums run in
//! sixteen lanes that are added in one fixed order, so every machine and every batch gives the same bits.

use crate::isa::for_each_isa;
use crate::math::{self, LANES, sum_lanes};

/// `1 / sqrt(mean(x^2) + eps)`.
#[inline(always)]
fn inverse_rms(x: &[f32], eps: f32) -> f32 {
    let mut lanes = [0.0; LANES];
    let (chunks, rest) = x.as_chunks::<LANES>();
    for chunk in chunks {
        for lane in 0..LANES {
            lanes[lane] += chunk[lane] * chunk[lane];
        }
    }
    for (lane, value) in lanes.iter_mut().zip(rest) {
        *lane += value * value;
    }
    1.0 / (sum_lanes(lanes) / x.len() as f32 + eps).sqrt()
}

for_each_isa! {
    /// `out = x * inverse_rms(x) * gain`, for each row of `gain.len()`.
    pub(super) fn rms_norm(x: &[f32], gain: &[f32], eps: f32, out: &mut [f32]) {
        for (x, out) in x.chunks_exact(gain.len()).zip(out.chunks_exact_mut(gain.len())) {
            let factor = inverse_rms(x, eps);
            for ((out, x), gain) in out.iter_mut().zip(x).zip(gain) {
                *out = x * factor * gain;
            }
        }
    }
}

for_each_isa! {
    /// `head = head * inverse_rms(head) * gain`, for each head of `gain.len()`.
    pub(super) fn norm_heads(heads: &mut [f32], gain: &[f32], eps: f32) {
        for head in heads.chunks_exact_mut(gain.len()) {
            let factor = inverse_rms(head, eps);
            for (x, gain) in head.iter_mut().zip(gain) {
                *x = *x * factor * gain;
            }
        }
    }
}

/// Weights of a seam, ready to multiply.
#[derive(Clone, Copy)]
pub(super) struct Seam<'a> {
    pub post: &'a [f32],
    pub pre: &'a [f32],
    pub eps: f32,
}

for_each_isa! {
    /// `residual += rms_norm(y, post); x = rms_norm(residual, pre)` for each row.
    pub(super) fn sandwich(residual: &mut [f32], y: &[f32], seam: Seam<'_>, x: &mut [f32]) {
        let width = seam.post.len();
        let rows = residual.chunks_exact_mut(width).zip(y.chunks_exact(width)).zip(x.chunks_exact_mut(width));
        for ((residual, y), x) in rows {
            let factor = inverse_rms(y, seam.eps);
            for ((residual, y), gain) in residual.iter_mut().zip(y).zip(seam.post) {
                *residual += y * factor * gain;
            }
            let factor = inverse_rms(residual, seam.eps);
            for ((x, residual), gain) in x.iter_mut().zip(residual).zip(seam.pre) {
                *x = *residual * factor * gain;
            }
        }
    }
}

for_each_isa! {
    /// Rotates `heads` heads at the start of a row; `cos_sin` is the position's `[cos.., sin..]`.
    pub(super) fn rope(row: &mut [f32], heads: usize, head_dim: usize, cos_sin: &[f32]) {
        let (cos, sin) = cos_sin.split_at(head_dim / 2);
        for head in row[..heads * head_dim].chunks_exact_mut(head_dim) {
            let (first, second) = head.split_at_mut(head_dim / 2);
            for (((a, b), cos), sin) in first.iter_mut().zip(second).zip(cos).zip(sin) {
                let (x, y) = (*a, *b);
                *a = x * cos - y * sin;
                *b = y * cos + x * sin;
            }
        }
    }
}

#[inline(always)]
fn join(gate: &[f32], up: &[f32], out: &mut [f32]) {
    for ((out, gate), up) in out.iter_mut().zip(gate).zip(up) {
        *out = math::gelu_tanh(*gate) * up;
    }
}

for_each_isa! {
    /// `out = gelu_tanh(gate) * up`; a row of `gate_up` is `[gate | up]`.
    pub(super) fn geglu(gate_up: &[f32], width: usize, out: &mut [f32]) {
        for (row, out) in gate_up.chunks_exact(2 * width).zip(out.chunks_exact_mut(width)) {
            let (gate, up) = row.split_at(width);
            join(gate, up, out);
        }
    }
}

for_each_isa! {
    /// `out = gelu_tanh(gate) * up`.
    pub(super) fn join_halves(gate: &[f32], up: &[f32], out: &mut [f32]) {
        join(gate, up, out);
    }
}

for_each_isa! {
    /// Soft-caps every number in place.
    pub(super) fn softcap(values: &mut [f32], cap: f32) {
        for value in values {
            *value = math::softcap(*value, cap);
        }
    }
}

for_each_isa! {
    /// Turns the scores of one query into softmax weights before division: soft-caps `scale * score`, takes
    /// `exp(score - max)`, and returns the sum.
    pub(super) fn weigh(scores: &mut [f32], scale: f32, cap: Option<f32>) -> f32 {
        for score in scores.iter_mut() {
            *score *= scale;
        }
        if let Some(cap) = cap {
            let largest = scores.iter().fold(0, |largest, score| largest.max(score.to_bits() & 0x7fff_ffff));
            // Scores are mostly far below the cap; what is no number counts as large.
            if f32::from_bits(largest) / cap < math::TANH_SMALL {
                scores.iter_mut().for_each(|score| *score = cap * math::tanh_small(*score / cap));
            } else {
                scores.iter_mut().for_each(|score| *score = math::softcap(*score, cap));
            }
        }
        let mut lanes = [f32::NEG_INFINITY; LANES];
        let (chunks, rest) = scores.as_chunks::<LANES>();
        for chunk in chunks {
            for lane in 0..LANES {
                lanes[lane] = if chunk[lane] > lanes[lane] { chunk[lane] } else { lanes[lane] };
            }
        }
        let max = lanes.iter().chain(rest).copied().fold(f32::NEG_INFINITY, f32::max);
        let mut sums = [0.0; LANES];
        let (chunks, rest) = scores.as_chunks_mut::<LANES>();
        for chunk in chunks {
            for lane in 0..LANES {
                chunk[lane] = math::exp(chunk[lane] - max);
                sums[lane] += chunk[lane];
            }
        }
        for (sum, score) in sums.iter_mut().zip(rest) {
            *score = math::exp(*score - max);
            *sum += *score;
        }
        sum_lanes(sums)
    }
}
