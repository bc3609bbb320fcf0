//! Dropout whose mask is a pure function of a key and a position, so that a backward pass and a resumed run repeat it.
//!
//! Called by the trainer's `dropout` and by attention. There is no generator to save.

use rayon::prelude::*;

use crate::isa::{Isa, for_each_isa};

/// Numbers that share a seed.
const ROW: usize = 1 << 12;

/// Share of the numbers that is dropped, and key of the mask.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dropout {
    /// Share that becomes 0, in `[0, 1)`; the others are divided by one minus it.
    pub rate: f32,
    /// Key of the mask: equal keys give equal masks.
    pub key: u64,
}

/// The mask of one row of numbers.
#[derive(Debug, Clone, Copy)]
pub(super) struct RowMask {
    seeds: [u32; 2],
    threshold: u32,
    kept: f32,
}

impl Dropout {
    pub(super) fn row(self, row: u64) -> RowMask {
        // SplitMix64's finaliser (Steele et al., "Fast Splittable Pseudorandom Number Generators", 2014).
        let mut z = self.key ^ row.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        let threshold = (f64::from(self.rate) * 2f64.powi(32)) as u32;
        RowMask { seeds: [z as u32, (z >> 32) as u32], threshold, kept: 1.0 / (1.0 - self.rate) }
    }
}

/// A bijection of 32 bits in which every bit depends on all.
#[inline(always)]
fn mix(mut x: u32) -> u32 {
    x ^= x >> 16;
    x = x.wrapping_mul(0x85eb_ca6b);
    x ^= x >> 13;
    x = x.wrapping_mul(0xc2b2_ae35);
    x ^ (x >> 16)
}

impl RowMask {
    /// Factor of the number at a column.
    #[inline(always)]
    pub(super) fn factor(self, column: u32) -> f32 {
        let drawn = mix(mix(column ^ self.seeds[0]).wrapping_add(self.seeds[1]));
        if drawn < self.threshold { 0.0 } else { self.kept }
    }
}

for_each_isa! {
    fn apply(x: &[f32], mask: RowMask, out: &mut [f32]) {
        for (column, (out, x)) in out.iter_mut().zip(x).enumerate() {
            *out = x * mask.factor(column as u32);
        }
    }
}

/// `x` with the mask applied; also the gradient of `x` from the gradient of the result.
///
/// # Panics
/// When the rate is outside `[0, 1)`.
pub fn dropout(x: &[f32], how: Dropout) -> Vec<f32> {
    assert!((0.0..1.0).contains(&how.rate), "some numbers are kept");
    let isa = Isa::detect();
    let mut out = vec![0.0; x.len()];
    let rows = out.par_chunks_mut(ROW).zip(x.par_chunks(ROW)).enumerate();
    rows.for_each(|(row, (out, x))| apply(isa, x, how.row(row as u64), out));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_that_is_dropped_is_the_rate_and_the_mean_stays() {
        let ones = vec![1.0; 300_000];
        for rate in [0.0, 0.1, 0.5] {
            let out = dropout(&ones, Dropout { rate, key: 7 });
            let dropped = out.iter().filter(|&&x| x == 0.0).count() as f32 / ones.len() as f32;
            assert!((dropped - rate).abs() < 0.004, "{dropped} instead of {rate}");
            assert!(out.iter().all(|&x| x == 0.0 || x == 1.0 / (1.0 - rate)));
        }
    }

    #[test]
    fn a_key_gives_one_mask_and_another_key_one_that_is_unrelated() {
        let ones = vec![1.0; 100_000];
        let mask = |key| dropout(&ones, Dropout { rate: 0.5, key });
        assert_eq!(mask(1), mask(1));
        for (key, other) in [(1, 2), (1, 1 << 40), (0, u64::MAX)] {
            let equal = mask(key).iter().zip(&mask(other)).filter(|(a, b)| a == b).count();
            assert!(equal.abs_diff(50_000) < 800, "{equal} of 100000 agree");
        }
        let (first, shifted) = (mask(3), &mask(3)[ROW..]);
        let equal = first.iter().zip(shifted).filter(|(a, b)| a == b).count();
        assert!(equal.abs_diff(shifted.len() / 2) < 800, "rows do not repeat");
    }
}
