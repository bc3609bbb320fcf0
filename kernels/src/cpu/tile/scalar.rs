//! The microkernel's step without vector instructions: eight lanes as an array.
//!
//! Called by `tile` only; the baseline for every machine.
#![allow(unsafe_code)]

use super::Step;

const LANES: usize = 8;

macro_rules! lanes {
    () => {
        type Sum = [f32; LANES];
        const LANES: usize = LANES;
        #[inline(always)]
        unsafe fn zero() -> Self::Sum {
            [0.0; LANES]
        }
        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self::Sum {
            // SAFETY: eight readable numbers by the contract of `run`.
            unsafe { from.cast::<Self::Sum>().read_unaligned() }
        }
        #[inline(always)]
        unsafe fn store(sum: Self::Sum, to: *mut f32) {
            // SAFETY: eight writable numbers by the contract of `run`.
            unsafe { to.cast::<Self::Sum>().write_unaligned(sum) }
        }
    };
}

pub struct F32;
impl Step for F32 {
    lanes!();
    type Weight = [f32; LANES];
    type Operand = f32;
    const X_WORDS: usize = 1;
    #[inline(always)]
    unsafe fn weight(from: *const u32) -> Self::Weight {
        // SAFETY: inside the panel by the contract of `run`.
        unsafe { from.cast::<Self::Weight>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn operand(from: *const u32) -> f32 {
        // SAFETY: inside the row by the contract of `run`.
        f32::from_bits(unsafe { *from })
    }
    #[inline(always)]
    unsafe fn multiply(mut sum: Self::Sum, operand: f32, weight: Self::Weight) -> Self::Sum {
        for lane in 0..LANES {
            sum[lane] += operand * weight[lane];
        }
        sum
    }
}

pub struct Widened;
impl Step for Widened {
    lanes!();
    type Weight = [u32; LANES];
    type Operand = [f32; 2];
    const X_WORDS: usize = 2;
    #[inline(always)]
    unsafe fn weight(from: *const u32) -> Self::Weight {
        // SAFETY: inside the panel by the contract of `run`.
        unsafe { from.cast::<Self::Weight>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn operand(from: *const u32) -> [f32; 2] {
        // SAFETY: inside the row by the contract of `run`.
        unsafe { from.cast::<[f32; 2]>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn multiply(mut sum: Self::Sum, operand: [f32; 2], weight: Self::Weight) -> Self::Sum {
        for lane in 0..LANES {
            sum[lane] += operand[0] * f32::from_bits(weight[lane] << 16);
            sum[lane] += operand[1] * f32::from_bits(weight[lane] & 0xffff_0000);
        }
        sum
    }
}
