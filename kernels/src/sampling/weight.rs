//! Weights of ids in fixed point, and the random stream that points into them.
//!
//! Sums of weights are integers: no order of adding changes them.

use super::draw::Draw;
use crate::math;

/// Fraction bits of a weight. The largest weight is 1.0; a vocabulary of 2^20 sums below 2^63.
const WEIGHT_BITS: u32 = 40;

/// `exp(scaled - max)` as an integer of `WEIGHT_BITS` fraction bits.
#[inline(always)]
pub fn weight(scaled: f32, max: f32) -> u64 {
    (math::exp(scaled - max) * (1_u64 << WEIGHT_BITS) as f32) as u64
}

/// The number of 64 bits that a draw takes from the random stream.
pub fn uniform(draw: &Draw) -> u64 {
    let words = math::philox(draw.sampling.seed, [draw.choice, draw.position, 0, 0]);
    u64::from(words[0]) << 32 | u64::from(words[1])
}

/// The place in `0 .. total` that a draw points at.
pub fn place(draw: &Draw, total: u64) -> u64 {
    ((u128::from(uniform(draw)) * u128::from(total)) >> 64) as u64
}

/// Mass that top-p must reach, out of `total`. At least one unit, so that one id is always kept.
pub fn nucleus(total: u64, top_p: f32) -> u64 {
    ((f64::from(top_p) * total as f64) as u64).clamp(1, total)
}

/// Least weight that `min_p` keeps.
pub fn min_p_floor(min_p: f32) -> u64 {
    (f64::from(min_p) * (1_u64 << WEIGHT_BITS) as f64) as u64
}
