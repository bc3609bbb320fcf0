//! The microkernel's steps for AVX2 and AVX-512, and their entry points.
//!
//! Called by `tile` only, which checks the instruction set.
#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::{Step, Tile, rows};

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
pub unsafe fn avx512_bf16(tile: &Tile) {
    // SAFETY: pointers by the caller's promise, instructions by the attribute.
    unsafe { rows::<Bf16x512, 4, 4>(tile) }
}
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
pub unsafe fn avx512_f32(tile: &Tile) {
    // SAFETY: pointers by the caller's promise, instructions by the attribute.
    unsafe { rows::<F32x512, 4, 4>(tile) }
}
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
pub unsafe fn avx512_widened(tile: &Tile) {
    // SAFETY: pointers by the caller's promise, instructions by the attribute.
    unsafe { rows::<Widened512, 4, 2>(tile) }
}
#[target_feature(enable = "avx2,fma")]
pub unsafe fn avx2_f32(tile: &Tile) {
    // SAFETY: pointers by the caller's promise, instructions by the attribute.
    unsafe { rows::<F32x256, 8, 2>(tile) }
}
#[target_feature(enable = "avx2,fma")]
pub unsafe fn avx2_widened(tile: &Tile) {
    // SAFETY: pointers by the caller's promise, instructions by the attribute.
    unsafe { rows::<Widened256, 4, 1>(tile) }
}

macro_rules! lanes {
    ($vector:ty, $lanes:literal, $zero:ident, $load_sum:ident, $store:ident) => {
        type Sum = $vector;
        const LANES: usize = $lanes;
        #[inline(always)]
        unsafe fn zero() -> $vector {
            // SAFETY: the caller has the instructions of this set.
            unsafe { $zero() }
        }
        #[inline(always)]
        unsafe fn load(from: *const f32) -> $vector {
            // SAFETY: a whole vector is readable by the contract of `run`.
            unsafe { $load_sum(from) }
        }
        #[inline(always)]
        unsafe fn store(sum: $vector, to: *mut f32) {
            // SAFETY: a whole vector is writable by the contract of `run`.
            unsafe { $store(to, sum) }
        }
    };
}

macro_rules! plain_step {
    ($name:ident, $vector:ty, $lanes:literal, $zero:ident, $load:ident, $store:ident, $set:ident, $fma:ident) => {
        struct $name;
        impl Step for $name {
            lanes!($vector, $lanes, $zero, $load, $store);
            type Weight = $vector;
            type Operand = $vector;
            const X_WORDS: usize = 1;
            #[inline(always)]
            unsafe fn weight(from: *const u32) -> $vector {
                // SAFETY: inside the panel by the contract of `run`.
                unsafe { $load(from.cast()) }
            }
            #[inline(always)]
            unsafe fn operand(from: *const u32) -> $vector {
                // SAFETY: inside the row by the contract of `run`.
                unsafe { $set(*from.cast()) }
            }
            #[inline(always)]
            unsafe fn multiply(sum: $vector, operand: $vector, weight: $vector) -> $vector {
                // SAFETY: the caller has the instructions of this set.
                unsafe { $fma(operand, weight, sum) }
            }
        }
    };
}
plain_step!(F32x512, __m512, 16, _mm512_setzero_ps, _mm512_loadu_ps, _mm512_storeu_ps, _mm512_set1_ps, _mm512_fmadd_ps);
plain_step!(F32x256, __m256, 8, _mm256_setzero_ps, _mm256_loadu_ps, _mm256_storeu_ps, _mm256_set1_ps, _mm256_fmadd_ps);

macro_rules! widened_step {
    ($name:ident, $vector:ty, $lanes:literal, $zero:ident, $load:ident, $store:ident, $set:ident, $fma:ident,
     $load_bits:ident, $shift:ident, $and:ident, $mask:ident, $cast:ident) => {
        struct $name;
        impl Step for $name {
            lanes!($vector, $lanes, $zero, $load, $store);
            type Weight = [$vector; 2];
            type Operand = [$vector; 2];
            const X_WORDS: usize = 2;
            #[inline(always)]
            unsafe fn weight(from: *const u32) -> [$vector; 2] {
                // SAFETY: inside the panel by the contract of `run`. A bfloat16 is the high half of a float32.
                unsafe {
                    let bits = $load_bits(from.cast());
                    [$cast($shift::<16>(bits)), $cast($and(bits, $mask(0xffff_0000_u32 as i32)))]
                }
            }
            #[inline(always)]
            unsafe fn operand(from: *const u32) -> [$vector; 2] {
                // SAFETY: inside the row by the contract of `run`.
                unsafe { [$set(*from.cast()), $set(*from.add(1).cast())] }
            }
            #[inline(always)]
            unsafe fn multiply(sum: $vector, operand: [$vector; 2], weight: [$vector; 2]) -> $vector {
                // SAFETY: the caller has the instructions of this set.
                unsafe { $fma(operand[1], weight[1], $fma(operand[0], weight[0], sum)) }
            }
        }
    };
}
widened_step!(
    Widened512,
    __m512,
    16,
    _mm512_setzero_ps,
    _mm512_loadu_ps,
    _mm512_storeu_ps,
    _mm512_set1_ps,
    _mm512_fmadd_ps,
    _mm512_loadu_si512,
    _mm512_slli_epi32,
    _mm512_and_si512,
    _mm512_set1_epi32,
    _mm512_castsi512_ps
);
widened_step!(
    Widened256,
    __m256,
    8,
    _mm256_setzero_ps,
    _mm256_loadu_ps,
    _mm256_storeu_ps,
    _mm256_set1_ps,
    _mm256_fmadd_ps,
    _mm256_loadu_si256,
    _mm256_slli_epi32,
    _mm256_and_si256,
    _mm256_set1_epi32,
    _mm256_castsi256_ps
);

struct Bf16x512;
impl Step for Bf16x512 {
    lanes!(__m512, 16, _mm512_setzero_ps, _mm512_loadu_ps, _mm512_storeu_ps);
    type Weight = __m512bh;
    type Operand = __m512bh;
    const X_WORDS: usize = 1;
    #[inline(always)]
    unsafe fn weight(from: *const u32) -> __m512bh {
        // SAFETY: inside the panel by the contract of `run`; both types are 64 plain bytes.
        unsafe { std::mem::transmute(_mm512_loadu_si512(from.cast())) }
    }
    #[inline(always)]
    unsafe fn operand(from: *const u32) -> __m512bh {
        // SAFETY: inside the row by the contract of `run`; both types are 64 plain bytes.
        unsafe { std::mem::transmute(_mm512_set1_epi32(*from.cast())) }
    }
    #[inline(always)]
    unsafe fn multiply(sum: __m512, operand: __m512bh, weight: __m512bh) -> __m512 {
        // SAFETY: the caller has the instructions of this set.
        unsafe { _mm512_dpbf16_ps(sum, operand, weight) }
    }
}
