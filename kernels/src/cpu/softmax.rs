//! The softmax of rows that learn their scores block by block: a page, or a block of keys.
//!
//! Called by `attend_paged` and `attend_full`. Weights are `exp(score) * 2^-power` with the power that brings the
//! largest weight so far near 1. When a block has a larger score, the sums are multiplied by a power of two, so no
//! rounding depends on where blocks end.

use std::ops::Range;

use super::pages::LANES;
use crate::isa::{Isa, for_each_isa};
use crate::math;

/// State of one query head after some blocks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Softmax {
    /// A whole number; below all others before the first block.
    power: f32,
    /// Sums of weights, in lanes.
    sums: [f32; LANES],
}

/// How the scores of a block become weights.
pub(super) struct BlockScores {
    /// Positions of the block, a multiple of [`LANES`].
    pub width: usize,
    /// Positions that the row sees: at least one.
    pub seen: Range<usize>,
    pub scale: f32,
    pub cap: Option<f32>,
}

impl Softmax {
    /// Before the first block.
    pub const START: Self = Self { power: f32::NEG_INFINITY, sums: [0.0; LANES] };

    /// Turns a block's products of queries and keys into weights, 0 where nothing is seen, for query heads in a row.
    /// `out`, the sums of weighted values so far, is brought to the new power.
    pub fn add_block(isa: Isa, block: &BlockScores, heads: &mut [Self], scores: &mut [f32], out: &mut [f32]) {
        weigh_block(isa, block, heads, scores, out);
    }

    /// Divides by the sum of weights.
    pub fn finish(&self, out: &mut [f32]) {
        let mut lanes = self.sums;
        let mut half = LANES / 2;
        while half > 0 {
            for i in 0..half {
                lanes[i] += lanes[i + half];
            }
            half /= 2;
        }
        out.iter_mut().for_each(|value| *value /= lanes[0]);
    }
}

#[inline(always)]
fn higher(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}

/// The largest of all lanes that are numbers.
#[inline(always)]
fn highest(lanes: [f32; LANES]) -> f32 {
    let eight: [f32; 8] = std::array::from_fn(|i| higher(lanes[i], lanes[i + 8]));
    let four: [f32; 4] = std::array::from_fn(|i| higher(eight[i], eight[i + 4]));
    higher(higher(four[0], four[2]), higher(four[1], four[3]))
}

for_each_isa! {
    fn weigh_block(block: &BlockScores, heads: &mut [Softmax], scores: &mut [f32], out: &mut [f32]) {
        for score in scores.iter_mut() {
            *score *= block.scale;
        }
        if let Some(cap) = block.cap {
            for score in scores.iter_mut() {
                *score = math::softcap(*score, cap);
            }
        }
        let head_dim = out.len() / heads.len();
        for (index, scores) in scores.chunks_exact_mut(block.width).enumerate() {
            if block.seen.len() < scores.len() {
                scores[..block.seen.start].fill(f32::NEG_INFINITY);
                scores[block.seen.end..].fill(f32::NEG_INFINITY);
            }
            let mut lanes = [f32::NEG_INFINITY; LANES];
            for scores in scores.as_chunks::<LANES>().0 {
                for lane in 0..LANES {
                    lanes[lane] = higher(scores[lane], lanes[lane]);
                }
            }
            let before = heads[index].power;
            // A block of scores that are no numbers has no largest one; its weights are no numbers whatever the power.
            let power = higher(math::nearest_power(highest(lanes)), before);
            let sums = &mut heads[index].sums;
            if power != before {
                let factor = math::power_of_two(before - power);
                sums.iter_mut().for_each(|sum| *sum *= factor);
                out[index * head_dim..][..head_dim].iter_mut().for_each(|out| *out *= factor);
            }
            for scores in scores.as_chunks_mut::<LANES>().0 {
                for lane in 0..LANES {
                    scores[lane] = math::exp_over(scores[lane], power);
                    sums[lane] += scores[lane];
                }
            }
            heads[index].power = power;
        }
    }
}
