//! The definition of quantised numbers: weights in their logical form, and the rows they multiply.
//!
//! Called by the packers of every backend, by products, and to write quantised checkpoints. Files hold the logical
//! form; each backend packs it as its instructions want it.
//!
//! - [`Scheme::Int8`]: `w = scale * q`, q in `-127 ..= 127`, one float32 scale a row.
//! - [`Scheme::Int4`]: `w = scale * q`, q in `-8 ..= 7`, one bfloat16 scale for each [`GROUP`] inputs of a row.
//!   A byte holds two neighbours, the even one in its low half, each as `q + 8`.

use crate::isa::{Isa, for_each_isa};
use crate::math::{ROUND, bf16_bits, bf16_value};

/// Inputs that share a scale in [`Scheme::Int4`].
pub const GROUP: usize = 32;

/// Most inputs of a quantised row: 128 times 127 for each still fit in the 32 bits of a sum.
pub const MOST_INPUTS: usize = 1 << 17;

/// How weights become integers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// 8 bits, a scale for each output feature.
    Int8,
    /// 4 bits, a scale for each output feature and [`GROUP`] inputs.
    Int4,
}

impl Scheme {
    /// Bytes of a row's integers.
    pub const fn integer_bytes(self, cols: usize) -> usize {
        match self {
            Self::Int8 => cols,
            Self::Int4 => cols.div_ceil(2),
        }
    }

    /// Bytes of a row's scales.
    pub const fn scale_bytes(self, cols: usize) -> usize {
        match self {
            Self::Int8 => 4,
            Self::Int4 => 2 * cols.div_ceil(GROUP),
        }
    }
}

/// Quantises a row of weights. A row (or group) with a number that is not finite gets a scale that is not a number.
pub fn quantize_row(scheme: Scheme, row: &[f32], integers: &mut [u8], scales: &mut [u8]) {
    let isa = Isa::detect();
    match scheme {
        Scheme::Int8 => {
            let scale = quantize_to_127(isa, row, integers).scale;
            scales.copy_from_slice(&scale.to_le_bytes());
        }
        Scheme::Int4 => quantize_groups(isa, row, integers, scales.as_chunks_mut::<2>().0),
    }
}

/// The numbers that a quantised row stands for.
pub fn dequantize_row(scheme: Scheme, integers: &[u8], scales: &[u8], out: &mut [f32]) {
    match scheme {
        Scheme::Int8 => {
            let scale = scales.first_chunk().map_or(0.0, |bytes| f32::from_le_bytes(*bytes));
            out.iter_mut().zip(integers).for_each(|(out, &q)| *out = f32::from(q.cast_signed()) * scale);
        }
        Scheme::Int4 => {
            let groups = out.chunks_mut(GROUP).zip(integers.chunks(GROUP / 2)).zip(scales.as_chunks::<2>().0);
            for ((out, integers), scale) in groups {
                let scale = bf16_value(u16::from_le_bytes(*scale));
                for (k, out) in out.iter_mut().enumerate() {
                    *out = f32::from(nibble(integers, k)) * scale;
                }
            }
        }
    }
}

/// The 4-bit integer of input `k`, `-8 ..= 7`.
pub fn nibble(integers: &[u8], k: usize) -> i8 {
    (integers[k / 2] >> (4 * (k % 2)) & 15).cast_signed() - 8
}

/// Scale and sum of a quantised row of activations.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct QuantizedRow {
    /// `x = scale * q`; not a number if one of the row is not finite.
    pub scale: f32,
    /// Sum of the integers.
    pub sum: i32,
}

for_each_isa! {
    /// `q = round(x * 127 / max|x|)`, ties to even, as signed bytes: rows of activations, and weights in
    /// [`Scheme::Int8`].
    pub fn quantize_to_127(x: &[f32], out: &mut [u8]) -> QuantizedRow {
        let (inverse, scale) = factors(largest(x), 127.0);
        let out = &mut out[..x.len()];
        out.iter_mut().zip(x).for_each(|(out, x)| *out = round(x * inverse).cast_unsigned());
        QuantizedRow { scale, sum: out.iter().map(|q| i32::from(q.cast_signed())).sum() }
    }
}

/// The largest magnitude; not a number if one of `values` is none. Infinite if one is.
#[inline(always)]
pub(crate) fn largest(values: &[f32]) -> f32 {
    // Magnitudes are ordered as their bits are; whatever is not finite lies above all others.
    f32::from_bits(values.iter().fold(0, |largest, value| largest.max(value.to_bits() & 0x7fff_ffff)))
}

/// The factor to integers of up to `limit`, and the one back; the latter is not a number if `largest` is not finite.
#[inline(always)]
pub(crate) fn factors(largest: f32, limit: f32) -> (f32, f32) {
    let inverse = limit / largest;
    // Of numbers so small that the factor overflows nothing is left, as of zeros.
    let inverse = if inverse.is_finite() && largest.is_finite() { inverse } else { 0.0 };
    (inverse, if largest.is_finite() { largest / limit } else { f32::NAN })
}

/// The nearest integer of a number of at most 127 in magnitude, ties to even; anything else gives anything.
#[inline(always)]
fn round(x: f32) -> i8 {
    (x + ROUND).to_bits() as i8
}

/// Scales that are tried for a group, as parts of the one that maps its largest number to an end of the range: a few
/// clipped numbers are worth finer steps for the rest.
const SHARES: [f32; 6] = [1.0, 0.94, 0.88, 0.82, 0.76, 0.7];

for_each_isa! {
    /// Quantises groups with the scales of least squared error.
    fn quantize_groups(row: &[f32], integers: &mut [u8], scales: &mut [[u8; 2]]) {
        for ((group, integers), scale_out) in row.chunks(GROUP).zip(integers.chunks_mut(GROUP / 2)).zip(scales) {
            let mut padded = [0.0; GROUP];
            padded[..group.len()].copy_from_slice(group);
            let scale = group_scale(&padded);
            *scale_out = bf16_bits(scale).to_le_bytes();
            let mut q = [8_u8; GROUP];
            for k in 0..GROUP {
                q[k] = (quantize_4(padded[k], inverse(scale)) + 8.0) as u8;
            }
            for (byte, pair) in integers.iter_mut().zip(q.as_chunks::<2>().0) {
                *byte = pair[0] | pair[1] << 4;
            }
        }
    }
}

#[inline(always)]
fn inverse(scale: f32) -> f32 {
    let inverse = 1.0 / scale;
    if inverse.is_finite() { inverse } else { 0.0 }
}

/// The nearest 4-bit integer, as a float.
#[inline(always)]
fn quantize_4(x: f32, inverse: f32) -> f32 {
    (x * inverse + ROUND - ROUND).clamp(-8.0, 7.0)
}

/// A scale that bfloat16 holds exactly.
#[inline(always)]
fn group_scale(group: &[f32; GROUP]) -> f32 {
    let extreme = group.iter().fold(0.0_f32, |extreme, &x| if x.abs() > extreme.abs() { x } else { extreme });
    if group.iter().fold(false, |found, x| found | !x.is_finite()) {
        return f32::NAN;
    }
    // Errors too large for float32 leave the plain scale.
    let (mut best, mut least) = (bf16_value(bf16_bits(extreme / -8.0)), f32::INFINITY);
    for end in [-8.0, 7.0] {
        for share in SHARES {
            let scale = bf16_value(bf16_bits(extreme / end * share));
            let (inverse, mut errors) = (inverse(scale), [0.0_f32; GROUP]);
            for k in 0..GROUP {
                let error = quantize_4(group[k], inverse) * scale - group[k];
                errors[k] = error * error;
            }
            let mut width = GROUP / 2;
            while width > 0 {
                for k in 0..width {
                    errors[k] += errors[k + width];
                }
                width /= 2;
            }
            if errors[0] < least {
                (best, least) = (scale, errors[0]);
            }
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(count: usize) -> Vec<f32> {
        (0..count).map(|i| ((i * 7919) % 1013) as f32 / 500.0 - 1.0).collect()
    }

    fn round_trip(scheme: Scheme, row: &[f32]) -> Vec<f32> {
        let mut integers = vec![0; scheme.integer_bytes(row.len())];
        let mut scales = vec![0; scheme.scale_bytes(row.len())];
        quantize_row(scheme, row, &mut integers, &mut scales);
        let mut out = vec![0.0; row.len()];
        dequantize_row(scheme, &integers, &scales, &mut out);
        out
    }

    #[test]
    fn int8_lies_within_half_a_step_and_keeps_the_largest() {
        for len in [1, 5, 32, 33, 500] {
            let row = numbers(len);
            let max = row.iter().fold(0.0_f32, |max, x| max.max(x.abs()));
            for (x, y) in row.iter().zip(round_trip(Scheme::Int8, &row)) {
                assert!((x - y).abs() <= max / 127.0 * 0.500_01, "{x} became {y}");
            }
        }
    }

    #[test]
    fn int4_is_no_worse_than_rounding_with_the_largest_number_at_the_end_of_the_range() {
        for len in [1, 31, 32, 33, 500] {
            let row = numbers(len);
            let quantized = round_trip(Scheme::Int4, &row);
            for (row, quantized) in row.chunks(GROUP).zip(quantized.chunks(GROUP)) {
                let extreme = row.iter().fold(0.0_f32, |e, &x| if x.abs() > e.abs() { x } else { e });
                let scale = bf16_value(bf16_bits(extreme / -8.0));
                let plain = |x: f32| (x / scale).round_ties_even().clamp(-8.0, 7.0) * scale;
                let error =
                    |of: &dyn Fn(usize) -> f32| -> f32 { (0..row.len()).map(|k| (of(k) - row[k]).powi(2)).sum() };
                assert!(error(&|k| quantized[k]) <= error(&|k| plain(row[k])) * 1.000_1 + 1e-12);
            }
        }
    }

    #[test]
    fn zeros_stay_zeros_and_what_is_no_number_stays_none() {
        for scheme in [Scheme::Int8, Scheme::Int4] {
            assert!(round_trip(scheme, &[0.0; 40]).iter().all(|&x| x == 0.0));
            assert!(round_trip(scheme, &[1e-44; 40]).iter().all(|&x| x.abs() <= 1e-43));
            for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                let mut row = numbers(40);
                row[3] = bad;
                assert!(round_trip(scheme, &row)[..32].iter().all(|x| x.is_nan()), "{scheme:?}, {bad}");
            }
        }
    }

    #[test]
    fn every_instruction_set_quantises_alike() {
        let row = numbers(777);
        let of = |isa| {
            let mut out = vec![0; row.len()];
            (quantize_to_127(isa, &row, &mut out), out)
        };
        let groups = |isa| {
            let mut integers = vec![0; Scheme::Int4.integer_bytes(row.len())];
            let mut scales = vec![[0; 2]; row.len().div_ceil(GROUP)];
            quantize_groups(isa, &row, &mut integers, &mut scales);
            (integers, scales)
        };
        let scalar = Isa::all().next().unwrap();
        for isa in Isa::all() {
            assert_eq!(of(isa), of(scalar));
            assert_eq!(groups(isa), groups(scalar));
        }
        let (quantized, integers) = of(scalar);
        assert_eq!(quantized.sum, integers.iter().map(|q| i32::from(q.cast_signed())).sum::<i32>());
    }
}
