//! Integer products for AVX2, AVX-VNNI and AVX-512 VNNI, and their entry points.
//!
//! Called by `tile::integer` only, which checks the instruction set.
#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::bounds::{Bounds, RowBounds, bound_rows};
use super::{IntegerPanel, IntegerRows, Integers, TILE_ROWS, TileOutput, ZERO_8, all_rows};

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub unsafe fn avx512_vnni(rows: &IntegerRows, panel: &IntegerPanel, out: TileOutput) {
    // SAFETY: pointers by the caller's promise, instructions by the attribute.
    unsafe {
        match panel {
            IntegerPanel::Int8 { .. } => all_rows::<Vnni512, 4, 4>(rows, panel, out),
            IntegerPanel::Int4 { .. } => all_rows::<Vnni512, 4, 2>(rows, panel, out),
        }
    }
}

/// Takes whichever encoding of the 256-bit dot product the machine has: AVX-512's where there is one.
pub unsafe fn avx_vnni(rows: &IntegerRows, panel: &IntegerPanel, out: TileOutput) {
    // SAFETY: the caller's level is one of the two.
    unsafe {
        if is_x86_feature_detected!("avx512vnni") && is_x86_feature_detected!("avx512vl") {
            avx512_vnni_256(rows, panel, out);
        } else {
            avx_vnni_256(rows, panel, out);
        }
    }
}

#[target_feature(enable = "avx2,fma,avx512f,avx512vl,avx512vnni")]
unsafe fn avx512_vnni_256(rows: &IntegerRows, panel: &IntegerPanel, out: TileOutput) {
    // SAFETY: pointers by the caller's promise, instructions by the attribute.
    unsafe { all_rows::<Avx512Vnni256, 4, 1>(rows, panel, out) }
}

#[target_feature(enable = "avx2,fma,avxvnni")]
unsafe fn avx_vnni_256(rows: &IntegerRows, panel: &IntegerPanel, out: TileOutput) {
    // SAFETY: pointers by the caller's promise, instructions by the attribute.
    unsafe { all_rows::<AvxVnni256, 4, 1>(rows, panel, out) }
}

#[target_feature(enable = "avx2,fma")]
pub unsafe fn avx2(rows: &IntegerRows, panel: &IntegerPanel, out: TileOutput) {
    // SAFETY: pointers by the caller's promise, instructions by the attribute.
    unsafe { all_rows::<Avx2, 2, 1>(rows, panel, out) }
}

/// Result of every `bound`: a range for each row.
type Ranges = [[f32; 2]; TILE_ROWS];

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub unsafe fn bound_512(rows: &IntegerRows, factors: &[RowBounds], bounds: &Bounds, out: &mut Ranges) {
    // SAFETY: pointers by the caller's promise, instructions by the attribute.
    unsafe { bound_rows::<Vnni512, 4>(rows, factors, bounds, out) }
}

/// Ranges by whichever encoding of the 256-bit dot product the machine has.
pub unsafe fn bound_vnni(rows: &IntegerRows, factors: &[RowBounds], bounds: &Bounds, out: &mut Ranges) {
    // SAFETY: the caller's level is one of the two.
    unsafe {
        if is_x86_feature_detected!("avx512vnni") && is_x86_feature_detected!("avx512vl") {
            bound_avx512_vnni_256(rows, factors, bounds, out);
        } else {
            bound_avx_vnni_256(rows, factors, bounds, out);
        }
    }
}

#[target_feature(enable = "avx2,fma,avx512f,avx512vl,avx512vnni")]
unsafe fn bound_avx512_vnni_256(rows: &IntegerRows, factors: &[RowBounds], bounds: &Bounds, out: &mut Ranges) {
    // SAFETY: pointers by the caller's promise, instructions by the attribute.
    unsafe { bound_rows::<Avx512Vnni256, 1>(rows, factors, bounds, out) }
}

#[target_feature(enable = "avx2,fma,avxvnni")]
unsafe fn bound_avx_vnni_256(rows: &IntegerRows, factors: &[RowBounds], bounds: &Bounds, out: &mut Ranges) {
    // SAFETY: pointers by the caller's promise, instructions by the attribute.
    unsafe { bound_rows::<AvxVnni256, 1>(rows, factors, bounds, out) }
}

#[target_feature(enable = "avx2,fma")]
pub unsafe fn bound_avx2(rows: &IntegerRows, factors: &[RowBounds], bounds: &Bounds, out: &mut Ranges) {
    // SAFETY: pointers by the caller's promise, instructions by the attribute.
    unsafe { bound_rows::<Avx2, 1>(rows, factors, bounds, out) }
}

struct Vnni512;
impl Integers for Vnni512 {
    type Sum = __m512i;
    type Float = __m512;
    type Weight = __m512i;
    type Operand = __m512i;
    const LANES: usize = 16;
    const ZERO_8: i32 = ZERO_8;
    #[inline(always)]
    unsafe fn splat(value: i32) -> __m512i {
        // SAFETY: the caller has the instructions of this set.
        unsafe { _mm512_set1_epi32(value) }
    }
    #[inline(always)]
    unsafe fn weight_8(from: *const u32) -> __m512i {
        // SAFETY: inside the panel by the contract of `run`.
        unsafe { _mm512_loadu_si512(from.cast()) }
    }
    #[inline(always)]
    unsafe fn weights_4(from: *const u32) -> [__m512i; 2] {
        // SAFETY: inside the panel by the contract of `run`.
        unsafe {
            let (words, mask) = (_mm512_loadu_si512(from.cast()), _mm512_set1_epi8(15));
            [_mm512_and_si512(words, mask), _mm512_and_si512(_mm512_srli_epi32::<4>(words), mask)]
        }
    }
    #[inline(always)]
    unsafe fn operand(from: *const u32) -> __m512i {
        // SAFETY: inside the row by the contract of `run`.
        unsafe { _mm512_set1_epi32(*from.cast()) }
    }
    #[inline(always)]
    unsafe fn dot_8(sum: __m512i, weight: __m512i, operand: __m512i) -> __m512i {
        // SAFETY: the caller has the instructions of this set.
        unsafe { _mm512_dpbusd_epi32(sum, weight, operand) }
    }
    #[inline(always)]
    unsafe fn dot_4(sum: __m512i, weight: __m512i, operand: __m512i) -> __m512i {
        // SAFETY: the caller has the instructions of this set.
        unsafe { _mm512_dpbusd_epi32(sum, weight, operand) }
    }
    #[inline(always)]
    unsafe fn to_float(sum: __m512i) -> __m512 {
        // SAFETY: the caller has the instructions of this set.
        unsafe { _mm512_cvtepi32_ps(sum) }
    }
    #[inline(always)]
    unsafe fn zero() -> __m512 {
        // SAFETY: the caller has the instructions of this set.
        unsafe { _mm512_setzero_ps() }
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> __m512 {
        // SAFETY: inside the scales by the contract of `run`.
        unsafe { _mm512_loadu_ps(from) }
    }
    #[inline(always)]
    unsafe fn load_bf16(from: *const u16) -> __m512 {
        // SAFETY: inside the scales by the contract of `run`.
        unsafe {
            let words = _mm512_cvtepu16_epi32(_mm256_loadu_si256(from.cast()));
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(words))
        }
    }
    #[inline(always)]
    unsafe fn multiply(a: __m512, b: __m512) -> __m512 {
        // SAFETY: the caller has the instructions of this set.
        unsafe { _mm512_mul_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn fused(a: __m512, b: __m512, c: __m512) -> __m512 {
        // SAFETY: the caller has the instructions of this set.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    unsafe fn splat_float(value: f32) -> __m512 {
        // SAFETY: the caller has the instructions of this set.
        unsafe { _mm512_set1_ps(value) }
    }
    #[inline(always)]
    unsafe fn store(value: __m512, to: *mut f32) {
        // SAFETY: a whole vector is writable by the contract of `run`.
        unsafe { _mm512_storeu_ps(to, value) }
    }
    #[inline(always)]
    unsafe fn larger(a: __m512, b: __m512) -> __m512 {
        // SAFETY: the caller has the instructions of this set.
        unsafe { _mm512_max_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn largest(value: __m512) -> f32 {
        // SAFETY: the caller has the instructions of this set.
        unsafe { _mm512_reduce_max_ps(value) }
    }
}

/// Operations that the 256-bit sets share.
macro_rules! lanes_256 {
    () => {
        type Sum = __m256i;
        type Float = __m256;
        type Weight = __m256i;
        const LANES: usize = 8;
        #[inline(always)]
        unsafe fn splat(value: i32) -> __m256i {
            // SAFETY: the caller has the instructions of this set.
            unsafe { _mm256_set1_epi32(value) }
        }
        #[inline(always)]
        unsafe fn weights_4(from: *const u32) -> [__m256i; 2] {
            // SAFETY: inside the panel by the contract of `run`.
            unsafe {
                let (words, mask) = (_mm256_loadu_si256(from.cast()), _mm256_set1_epi8(15));
                [_mm256_and_si256(words, mask), _mm256_and_si256(_mm256_srli_epi32::<4>(words), mask)]
            }
        }
        #[inline(always)]
        unsafe fn to_float(sum: __m256i) -> __m256 {
            // SAFETY: the caller has the instructions of this set.
            unsafe { _mm256_cvtepi32_ps(sum) }
        }
        #[inline(always)]
        unsafe fn zero() -> __m256 {
            // SAFETY: the caller has the instructions of this set.
            unsafe { _mm256_setzero_ps() }
        }
        #[inline(always)]
        unsafe fn load(from: *const f32) -> __m256 {
            // SAFETY: inside the scales by the contract of `run`.
            unsafe { _mm256_loadu_ps(from) }
        }
        #[inline(always)]
        unsafe fn load_bf16(from: *const u16) -> __m256 {
            // SAFETY: inside the scales by the contract of `run`.
            unsafe {
                let words = _mm256_cvtepu16_epi32(_mm_loadu_si128(from.cast()));
                _mm256_castsi256_ps(_mm256_slli_epi32::<16>(words))
            }
        }
        #[inline(always)]
        unsafe fn multiply(a: __m256, b: __m256) -> __m256 {
            // SAFETY: the caller has the instructions of this set.
            unsafe { _mm256_mul_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn fused(a: __m256, b: __m256, c: __m256) -> __m256 {
            // SAFETY: the caller has the instructions of this set.
            unsafe { _mm256_fmadd_ps(a, b, c) }
        }
        #[inline(always)]
        unsafe fn splat_float(value: f32) -> __m256 {
            // SAFETY: the caller has the instructions of this set.
            unsafe { _mm256_set1_ps(value) }
        }
        #[inline(always)]
        unsafe fn store(value: __m256, to: *mut f32) {
            // SAFETY: a whole vector is writable by the contract of `run`.
            unsafe { _mm256_storeu_ps(to, value) }
        }
        #[inline(always)]
        unsafe fn larger(a: __m256, b: __m256) -> __m256 {
            // SAFETY: the caller has the instructions of this set.
            unsafe { _mm256_max_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn largest(value: __m256) -> f32 {
            let mut lanes = [0.0; 8];
            // SAFETY: `lanes` holds a whole vector; the caller has the instructions of this set.
            unsafe { _mm256_storeu_ps(lanes.as_mut_ptr(), value) };
            lanes.into_iter().fold(f32::NEG_INFINITY, f32::max)
        }
    };
}

macro_rules! vnni_256 {
    ($name:ident, $dot:ident) => {
        struct $name;
        impl Integers for $name {
            lanes_256!();
            type Operand = __m256i;
            const ZERO_8: i32 = ZERO_8;
            #[inline(always)]
            unsafe fn weight_8(from: *const u32) -> __m256i {
                // SAFETY: inside the panel by the contract of `run`.
                unsafe { _mm256_loadu_si256(from.cast()) }
            }
            #[inline(always)]
            unsafe fn operand(from: *const u32) -> __m256i {
                // SAFETY: inside the row by the contract of `run`.
                unsafe { _mm256_set1_epi32(*from.cast()) }
            }
            #[inline(always)]
            unsafe fn dot_8(sum: __m256i, weight: __m256i, operand: __m256i) -> __m256i {
                // SAFETY: the caller has the instructions of this set.
                unsafe { $dot(sum, weight, operand) }
            }
            #[inline(always)]
            unsafe fn dot_4(sum: __m256i, weight: __m256i, operand: __m256i) -> __m256i {
                // SAFETY: the caller has the instructions of this set.
                unsafe { $dot(sum, weight, operand) }
            }
        }
    };
}
vnni_256!(Avx512Vnni256, _mm256_dpbusd_epi32);
vnni_256!(AvxVnni256, _mm256_dpbusd_avx_epi32);

/// Products of bytes are added in pairs with 16 bits: unsigned weights of 8 bits would overflow them, so weights become
/// signed and lend their sign to the operand's magnitude: at most 2 * 127 * 127. Weights of 4 bits fit as they are.
struct Avx2;
impl Integers for Avx2 {
    lanes_256!();
    /// The bytes and their magnitudes.
    type Operand = [__m256i; 2];
    const ZERO_8: i32 = 0;
    #[inline(always)]
    unsafe fn weight_8(from: *const u32) -> __m256i {
        // SAFETY: inside the panel by the contract of `run`.
        unsafe { _mm256_xor_si256(_mm256_loadu_si256(from.cast()), _mm256_set1_epi8(-128)) }
    }
    #[inline(always)]
    unsafe fn operand(from: *const u32) -> [__m256i; 2] {
        // SAFETY: inside the row by the contract of `run`.
        unsafe {
            let bytes = _mm256_set1_epi32(*from.cast());
            [bytes, _mm256_abs_epi8(bytes)]
        }
    }
    #[inline(always)]
    unsafe fn dot_8(sum: __m256i, weight: __m256i, [bytes, magnitudes]: [__m256i; 2]) -> __m256i {
        // SAFETY: the caller has the instructions of this set.
        unsafe {
            let pairs = _mm256_maddubs_epi16(magnitudes, _mm256_sign_epi8(weight, bytes));
            _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
        }
    }
    #[inline(always)]
    unsafe fn dot_4(sum: __m256i, weight: __m256i, [bytes, _]: [__m256i; 2]) -> __m256i {
        // SAFETY: the caller has the instructions of this set.
        unsafe {
            let pairs = _mm256_maddubs_epi16(weight, bytes);
            _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
        }
    }
}
