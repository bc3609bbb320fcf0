//! Integer products without vector instructions: eight lanes as arrays.
//!
//! Called by `tile::integer` only; the baseline for every machine.
#![allow(unsafe_code)]

use super::{Integers, ZERO_8};

const LANES: usize = 8;

pub struct Scalar;

impl Integers for Scalar {
    type Sum = [i32; LANES];
    type Float = [f32; LANES];
    type Weight = [u32; LANES];
    type Operand = [i32; 4];
    const LANES: usize = LANES;
    const ZERO_8: i32 = ZERO_8;
    #[inline(always)]
    unsafe fn splat(value: i32) -> Self::Sum {
        [value; LANES]
    }
    #[inline(always)]
    unsafe fn weight_8(from: *const u32) -> Self::Weight {
        // SAFETY: inside the panel by the contract of `run`.
        unsafe { from.cast::<Self::Weight>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn weights_4(from: *const u32) -> [Self::Weight; 2] {
        // SAFETY: inside the panel by the contract of `run`.
        let words = unsafe { from.cast::<Self::Weight>().read_unaligned() };
        [words.map(|word| word & 0x0f0f_0f0f), words.map(|word| word >> 4 & 0x0f0f_0f0f)]
    }
    #[inline(always)]
    unsafe fn operand(from: *const u32) -> Self::Operand {
        // SAFETY: inside the row by the contract of `run`.
        unsafe { *from }.to_le_bytes().map(|byte| i32::from(byte.cast_signed()))
    }
    #[inline(always)]
    unsafe fn dot_8(mut sum: Self::Sum, weight: Self::Weight, operand: Self::Operand) -> Self::Sum {
        for lane in 0..LANES {
            let word = weight[lane];
            sum[lane] += (word & 255) as i32 * operand[0]
                + (word >> 8 & 255) as i32 * operand[1]
                + (word >> 16 & 255) as i32 * operand[2]
                + (word >> 24) as i32 * operand[3];
        }
        sum
    }
    #[inline(always)]
    unsafe fn dot_4(sum: Self::Sum, weight: Self::Weight, operand: Self::Operand) -> Self::Sum {
        // SAFETY: no instructions beyond the baseline.
        unsafe { Self::dot_8(sum, weight, operand) }
    }
    #[inline(always)]
    unsafe fn to_float(sum: Self::Sum) -> Self::Float {
        sum.map(|sum| sum as f32)
    }
    #[inline(always)]
    unsafe fn zero() -> Self::Float {
        [0.0; LANES]
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self::Float {
        // SAFETY: inside the scales by the contract of `run`.
        unsafe { from.cast::<Self::Float>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn load_bf16(from: *const u16) -> Self::Float {
        // SAFETY: inside the scales by the contract of `run`.
        unsafe { from.cast::<[u16; LANES]>().read_unaligned() }.map(crate::math::bf16_value)
    }
    #[inline(always)]
    unsafe fn multiply(a: Self::Float, b: Self::Float) -> Self::Float {
        std::array::from_fn(|lane| a[lane] * b[lane])
    }
    #[inline(always)]
    unsafe fn fused(a: Self::Float, b: Self::Float, c: Self::Float) -> Self::Float {
        std::array::from_fn(|lane| a[lane].mul_add(b[lane], c[lane]))
    }
    #[inline(always)]
    unsafe fn splat_float(value: f32) -> Self::Float {
        [value; LANES]
    }
    #[inline(always)]
    unsafe fn store(value: Self::Float, to: *mut f32) {
        // SAFETY: eight writable numbers by the contract of `run`.
        unsafe { to.cast::<Self::Float>().write_unaligned(value) }
    }
    #[inline(always)]
    unsafe fn larger(a: Self::Float, b: Self::Float) -> Self::Float {
        std::array::from_fn(|lane| if a[lane] > b[lane] { a[lane] } else { b[lane] })
    }
    #[inline(always)]
    unsafe fn largest(value: Self::Float) -> f32 {
        value.into_iter().fold(f32::NEG_INFINITY, f32::max)
    }
}
