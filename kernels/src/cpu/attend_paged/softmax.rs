//! The softmax of a row that learns its scores page by page.
//!
//! Called by `attend_paged`. Weights are `exp(score) * 2^-power` with the power that brings the largest weight so far
//! near 1. When a page has a larger score, the sums are multiplied by a power of two, so no rounding depends on where
//! pages end.

use std::ops::Range;

use super::LANES;
use crate::isa::for_each_isa;
use crate::math;

/// Softmax state of each query head after some pages.
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
    fn weigh_page(page: &PageScores, scores: &mut [f32], softmax: &mut Softmax, out: &mut [f32]) {
        for score in scores.iter_mut() {
            *score *= page.scale;
        }
        if let Some(cap) = page.cap {
            for score in scores.iter_mut() {
                *score = math::softcap(*score, cap);
            }
        }
        let head_dim = out.len() / softmax.powers.len();
        for (index, scores) in scores.chunks_exact_mut(page.page_tokens).enumerate() {
            if page.seen.len() < scores.len() {
                scores[..page.seen.start].fill(f32::NEG_INFINITY);
                scores[page.seen.end..].fill(f32::NEG_INFINITY);
            }
            let mut lanes = [f32::NEG_INFINITY; LANES];
            for scores in scores.as_chunks::<LANES>().0 {
                for lane in 0..LANES {
                    lanes[lane] = higher(scores[lane], lanes[lane]);
                }
            }
            let before = softmax.powers[index];
            // A page of scores that are no numbers has no largest one; its weights are no numbers whatever the power.
            let power = higher(math::nearest_power(highest(lanes)), before);
            let sums = &mut softmax.sums[index];
            if power != before {
                let factor = math::power_of_two(before - power);
                softmax.powers[index] = power;
                sums.iter_mut().for_each(|sum| *sum *= factor);
                out[index * head_dim..][..head_dim].iter_mut().for_each(|out| *out *= factor);
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
