//! The microkernel: up to [`TILE_ROWS`] rows of operands times one panel, accumulators in registers.
//!
//! Called by `product` (weights) and `attend_full` (keys and values packed as panels). One algorithm over a
//! small trait, compiled for each instruction set. Every output is one accumulator that takes its products
//! in the order of k, at any row count: this is what makes a row's result independent of its batch.
#![allow(unsafe_code)]
// Several arrays share each index; iterators would hide the register block's shape.
#![allow(clippy::needless_range_loop)]

use super::isa::{Isa, Level};
use super::matrix::PANEL;

/// Rows that one microkernel call takes at most.
pub const TILE_ROWS: usize = 6;

/// Operands of one product: which numbers stand on either side of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operands {
    /// float32 on both sides.
    F32,
    /// float32 rows; bfloat16 panels, widened exactly in registers.
    Widened,
    /// bfloat16 pairs on both sides, multiplied by `vdpbf16ps`.
    Bf16,
}

/// One call: `rows` rows against one panel.
#[derive(Clone, Copy)]
pub struct Tile {
    /// First row of operands: `f32` for [`Operands::F32`] and `Widened`, bfloat16 pairs for `Bf16`.
    pub x: *const u32,
    /// Distance between rows of `x`, in 32-bit words.
    pub x_stride: usize,
    /// Rows, 1 to [`TILE_ROWS`].
    pub rows: usize,
    /// The panel: `units * PANEL` words.
    pub panel: *const u32,
    /// Steps of the input dimension: k for float32 panels, pairs of k for bfloat16 ones.
    pub units: usize,
    /// First output; `PANEL` numbers of each row are written.
    pub out: *mut f32,
    /// Distance between rows of `out`.
    pub out_stride: usize,
    /// Start from what stands in `out` instead of zero.
    pub accumulate: bool,
}

/// Runs one tile.
///
/// # Safety
/// `x` must be readable for `rows` rows of `units` words (`2 * units` for [`Operands::Widened`]), `panel` for
/// `units * PANEL` words, `out` writable for `rows` rows of `PANEL`; `Operands::Bf16` needs [`Level::Avx512Bf16`].
pub unsafe fn run(isa: Isa, operands: Operands, tile: &Tile) {
    debug_assert!((1..=TILE_ROWS).contains(&tile.rows));
    // SAFETY: pointers by the caller's promise; features by the `Isa` value.
    unsafe {
        match (isa.level(), operands) {
            #[cfg(target_arch = "x86_64")]
            (Level::Avx512Bf16, Operands::Bf16) => x86::avx512_bf16(tile),
            #[cfg(target_arch = "x86_64")]
            (Level::Avx512 | Level::Avx512Bf16, Operands::F32) => x86::avx512_f32(tile),
            #[cfg(target_arch = "x86_64")]
            (Level::Avx512 | Level::Avx512Bf16, Operands::Widened) => x86::avx512_widened(tile),
            #[cfg(target_arch = "x86_64")]
            (Level::Avx2, Operands::F32) => x86::avx2_f32(tile),
            #[cfg(target_arch = "x86_64")]
            (Level::Avx2, Operands::Widened) => x86::avx2_widened(tile),
            (_, Operands::F32) => scalar_f32(tile),
            (_, Operands::Widened) => scalar_widened(tile),
            (_, Operands::Bf16) => unreachable!("bfloat16 operands are chosen only where the machine multiplies them"),
        }
    }
}

/// What one step of the input dimension does, for `V` vectors of a panel.
trait Step {
    /// Lanes of accumulators.
    type Sum: Copy;
    /// A vector of weights, ready to multiply.
    type Weight: Copy;
    /// One row's operand, in every lane.
    type Operand: Copy;
    /// float32 lanes of `Sum`.
    const LANES: usize;
    /// Words of `x` that a step takes.
    const X_WORDS: usize;
    unsafe fn zero() -> Self::Sum;
    unsafe fn load(from: *const f32) -> Self::Sum;
    unsafe fn store(sum: Self::Sum, to: *mut f32);
    unsafe fn weight(from: *const u32) -> Self::Weight;
    unsafe fn operand(from: *const u32) -> Self::Operand;
    unsafe fn multiply(sum: Self::Sum, operand: Self::Operand, weight: Self::Weight) -> Self::Sum;
}

/// `R` rows by `V` vectors, starting at column `column` of the panel.
///
/// # Safety
/// As [`run`], and the caller must have the instructions of `S`.
#[inline(always)]
unsafe fn block<S: Step, const R: usize, const V: usize>(tile: &Tile, column: usize) {
    // SAFETY: offsets stay inside what the caller promised: `r < rows`, `unit < units`, columns below PANEL.
    unsafe {
        let mut sums = [[S::zero(); V]; R];
        if tile.accumulate {
            for r in 0..R {
                for v in 0..V {
                    sums[r][v] = S::load(tile.out.add(r * tile.out_stride + column + v * S::LANES));
                }
            }
        }
        for unit in 0..tile.units {
            let row = tile.panel.add(unit * PANEL + column);
            let mut weights = [S::weight(row); V];
            for v in 1..V {
                weights[v] = S::weight(row.add(v * S::LANES));
            }
            for r in 0..R {
                let operand = S::operand(tile.x.add(r * tile.x_stride + unit * S::X_WORDS));
                for v in 0..V {
                    sums[r][v] = S::multiply(sums[r][v], operand, weights[v]);
                }
            }
        }
        for r in 0..R {
            for v in 0..V {
                S::store(sums[r][v], tile.out.add(r * tile.out_stride + column + v * S::LANES));
            }
        }
    }
}

/// All rows of the tile: a single row takes the whole panel at once (one straight read of memory), several
/// take `V` vectors at a time so that the accumulators fit the registers.
#[inline(always)]
unsafe fn rows<S: Step, const V1: usize, const V: usize>(tile: &Tile) {
    // SAFETY: as the caller's.
    unsafe {
        if tile.rows == 1 {
            let mut column = 0;
            while column < PANEL {
                block::<S, 1, V1>(tile, column);
                column += V1 * S::LANES;
            }
            return;
        }
        let mut column = 0;
        while column < PANEL {
            match tile.rows {
                2 => block::<S, 2, V>(tile, column),
                3 => block::<S, 3, V>(tile, column),
                4 => block::<S, 4, V>(tile, column),
                5 => block::<S, 5, V>(tile, column),
                _ => block::<S, 6, V>(tile, column),
            }
            column += V * S::LANES;
        }
    }
}

unsafe fn scalar_f32(tile: &Tile) {
    // SAFETY: no instructions beyond the baseline.
    unsafe { rows::<scalar::F32, 2, 1>(tile) }
}

unsafe fn scalar_widened(tile: &Tile) {
    // SAFETY: no instructions beyond the baseline.
    unsafe { rows::<scalar::Widened, 2, 1>(tile) }
}

mod scalar {
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
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{Step, Tile, rows};

    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
    pub unsafe fn avx512_bf16(tile: &Tile) {
        // SAFETY: pointers by the caller's promise, instructions by the attribute.
        unsafe { rows::<Bf16x512, 4, 4>(tile) }
    }
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    pub unsafe fn avx512_f32(tile: &Tile) {
        // SAFETY: as above.
        unsafe { rows::<F32x512, 4, 4>(tile) }
    }
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    pub unsafe fn avx512_widened(tile: &Tile) {
        // SAFETY: as above.
        unsafe { rows::<Widened512, 4, 2>(tile) }
    }
    #[target_feature(enable = "avx2,fma")]
    pub unsafe fn avx2_f32(tile: &Tile) {
        // SAFETY: as above.
        unsafe { rows::<F32x256, 8, 2>(tile) }
    }
    #[target_feature(enable = "avx2,fma")]
    pub unsafe fn avx2_widened(tile: &Tile) {
        // SAFETY: as above.
        unsafe { rows::<Widened256, 4, 1>(tile) }
    }

    macro_rules! lanes {
        ($vector:ty, $lanes:literal, $zero:ident, $load:ident, $store:ident) => {
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
                unsafe { $load(from) }
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
    plain_step!(
        F32x512,
        __m512,
        16,
        _mm512_setzero_ps,
        _mm512_loadu_ps,
        _mm512_storeu_ps,
        _mm512_set1_ps,
        _mm512_fmadd_ps
    );
    plain_step!(
        F32x256,
        __m256,
        8,
        _mm256_setzero_ps,
        _mm256_loadu_ps,
        _mm256_storeu_ps,
        _mm256_set1_ps,
        _mm256_fmadd_ps
    );

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
}
