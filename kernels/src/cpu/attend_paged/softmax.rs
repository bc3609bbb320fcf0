//! The softmax of a row that learns its scores page by page.
//!
//! Called by `attend_paged`. Weights are `exp(score) * 2^-power` with the power that brings the largest score so far near
//! 1. When a page has a larger one, what was summed is multiplied by a power of two: no rounding depends on where pages end.

use std::ops::Range;

use super::LANES;
use crate::cpu::isa::for_each_isa;
use crate::math;

/// What is known of each query head after some pages.
#[derive(Default)]
pub(super) struct Softmax {
    /// Whole numbers; below all others before the first page.
    powers: Vec<f32>,
    /// Sums of weights, in lanes.
    sums: Vec<[f32; LANES]>,
}

/// How the scores of a page become weights.
pub(super) struct PageScores {
    pub page_tokens: usize,
    /// Positions that the row sees.
    pub seen: Range<usize>,
    pub scale: f32,
    pub cap: Option<f32>,
}

impl Softmax {
    /// Begins a row.
    pub fn start(&mut self, heads: usize) {
        self.powers.clear();
        self.powers.resize(heads, f32::NEG_INFINITY);
        self.sums.clear();
        self.sums.resize(heads, [0.0; LANES]);
    }

    /// Turns a page's products of queries and keys into weights, 0 where nothing is seen. `out`, the sums of weighted
    /// values so far, is brought to the new power.
    pub fn add_page(&mut self, isa: super::Isa, page: PageScores, scores: &mut [f32], out: &mut [f32]) {
        weigh_page(isa, &page, scores, self, out);
    }

    /// Divides by the sums of weights.
    pub fn finish(&self, out: &mut [f32]) {
        let head_dim = out.len() / self.sums.len();
        for (out, lanes) in out.chunks_exact_mut(head_dim).zip(&self.sums) {
            let mut lanes = *lanes;
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
}

for_each_isa! {
    fn weigh_page(page: &PageScores, scores: &mut [f32], softmax: &mut Softmax, out: &mut [f32]) {
        let head_dim = out.len() / softmax.powers.len();
        for (index, scores) in scores.chunks_exact_mut(page.page_tokens).enumerate() {
            let mut largest = [f32::NEG_INFINITY; LANES];
            for (block, scores) in scores.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
                for lane in 0..LANES {
                    scores[lane] *= page.scale;
                }
                if let Some(cap) = page.cap {
                    for lane in 0..LANES {
                        scores[lane] = math::softcap(scores[lane], cap);
                    }
                }
                for lane in 0..LANES {
                    let position = block * LANES + lane;
                    let is_seen = position >= page.seen.start && position < page.seen.end;
                    scores[lane] = if is_seen { scores[lane] } else { f32::NEG_INFINITY };
                    largest[lane] = if scores[lane] > largest[lane] { scores[lane] } else { largest[lane] };
                }
            }
            let mut half = LANES / 2;
            while half > 0 {
                for i in 0..half {
                    largest[i] = if largest[i + half] > largest[i] { largest[i + half] } else { largest[i] };
                }
                half /= 2;
            }
            let before = softmax.powers[index];
            let power = math::nearest_power(largest[0]);
            // A page of scores that are no numbers has no largest one; its weights are no numbers whatever the power.
            let power = if power > before { power } else { before };
            let sums = &mut softmax.sums[index];
            if power != before {
                let factor = math::power_of_two(before - power);
                softmax.powers[index] = power;
                for lane in 0..LANES {
                    sums[lane] *= factor;
                }
                for out in &mut out[index * head_dim..][..head_dim] {
                    *out *= factor;
                }
            }
            for scores in scores.as_chunks_mut::<LANES>().0 {
                for lane in 0..LANES {
                    scores[lane] = math::exp_over(scores[lane], power);
                    sums[lane] += scores[lane];
                }
            }
        }
    }
}
