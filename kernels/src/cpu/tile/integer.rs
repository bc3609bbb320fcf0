//! The microkernels for quantised weights: a few rows of 8-bit integers times one panel.
//!
//! Called by `product` and `screen`. Sums of integers are exact, so only the scales' order of operations is a choice:
//! that of `crate::quantize`. Weights are stored with a zero point, as unsigned bytes; instructions that multiply
//! unsigned by signed bytes take them as they are, and a start value of minus the zero point times the row's sum makes
//! up for it.
#![allow(unsafe_code)]
// Several arrays share each index; iterators would hide the register block's shape.
#![allow(clippy::needless_range_loop)]

mod bounds;
mod scalar;
#[cfg(target_arch = "x86_64")]
mod x86;

use super::{TILE_ROWS, amx};
use crate::cpu::panel::PANEL;
use crate::cpu::quantized::{GROUP_WORDS, ZERO_4, ZERO_8};
use crate::isa::{Isa, Level, for_each_isa};
use crate::quantize::Scheme;
pub use bounds::{Bounds, RowBounds};

/// Rows of quantised activations, as a tile reads them.
#[derive(Clone, Copy)]
pub struct IntegerRows {
    /// First row: words of four signed bytes, inputs ascending.
    pub x: *const u32,
    /// Distance between rows of `x`, in words.
    pub x_stride: usize,
    /// One scale a row.
    pub scales: *const f32,
    /// Sums of each row's bytes: of the whole row for int8, of each group for int4.
    pub sums: *const i32,
    /// Distance between rows of `sums`.
    pub sums_stride: usize,
    /// Rows, at least one.
    pub count: usize,
    /// Whether they are the first to meet their panel, which has to come from memory, and the next one after it.
    pub streams: bool,
}

/// One panel of a quantised matrix.
#[derive(Clone, Copy)]
pub enum IntegerPanel {
    /// `units` words of each column, and a scale for each column.
    Int8 {
        /// `units * PANEL` words.
        words: *const u32,
        /// Words of a column.
        units: usize,
        /// `PANEL` scales.
        scales: *const f32,
    },
    /// `groups` groups of each column with their scales.
    Int4 {
        /// `groups * GROUP_WORDS * PANEL` words.
        words: *const u32,
        /// Groups of a column.
        groups: usize,
        /// bfloat16, `groups * PANEL`.
        scales: *const u16,
    },
}

/// Where a tile writes.
#[derive(Clone, Copy)]
pub struct TileOutput {
    /// First output; `PANEL` numbers of each row are written.
    pub to: *mut f32,
    /// Distance between rows.
    pub stride: usize,
}

/// Rows from which AMX is faster than vectors.
const LEAST_AMX_ROWS: usize = 5;

/// The way that a product of integers is computed.
pub struct IntegerKernel {
    isa: Isa,
    tiles: Option<amx::Tiles<i32>>,
}

impl IntegerKernel {
    /// The fastest way for so many rows of `cols` inputs. It is the thread's own.
    pub fn new(isa: Isa, scheme: Scheme, cols: usize, rows: usize) -> Self {
        let by_tiles = Self::takes_tiles(isa, scheme, cols, rows);
        Self { isa, tiles: by_tiles.then(|| amx::Tiles::new(isa)) }
    }

    /// The way by vectors, for any product.
    pub fn of_vectors(isa: Isa) -> Self {
        Self { isa, tiles: None }
    }

    fn takes_tiles(isa: Isa, scheme: Scheme, cols: usize, rows: usize) -> bool {
        let whole = cols.is_multiple_of(4) && amx::Block::takes(cols / 4);
        isa.level() == Level::Amx && scheme == Scheme::Int8 && whole && rows >= LEAST_AMX_ROWS
    }

    /// Rows that a call of such a kernel takes at most.
    pub fn rows_of(isa: Isa, scheme: Scheme, cols: usize, rows: usize) -> usize {
        if Self::takes_tiles(isa, scheme, cols, rows) { amx::ROWS } else { TILE_ROWS }
    }

    /// Rows that a call takes at most.
    pub fn rows(&self) -> usize {
        if self.tiles.is_some() { amx::ROWS } else { TILE_ROWS }
    }

    /// Multiplies rows and a panel.
    ///
    /// # Safety
    /// `rows` and `panel` must be those of the product that the kernel is for. They must be readable as their fields
    /// say, rows as far as the panel is long and as many as the next multiple of [`super::MOST_ROWS`]; `out` must be
    /// writable for `rows.count` rows of `PANEL`.
    pub unsafe fn run(&mut self, rows: &IntegerRows, panel: &IntegerPanel, out: TileOutput) {
        debug_assert!((1..=self.rows()).contains(&rows.count));
        // SAFETY: by the caller's promise.
        unsafe {
            match (&mut self.tiles, *panel) {
                (Some(tiles), IntegerPanel::Int8 { words, units, scales }) => {
                    let sums = sums_by_tiles(tiles, rows, words, units);
                    let scales = std::slice::from_raw_parts(scales, PANEL);
                    scale_sums(self.isa, sums, rows, scales, out);
                }
                _ => by_vectors(self.isa, rows, panel, out),
            }
        }
    }
}

/// Sums of rows times an int8 panel.
///
/// # Safety
/// As [`IntegerKernel::run`].
unsafe fn sums_by_tiles<'a>(
    tiles: &'a mut amx::Tiles<i32>,
    rows: &IntegerRows,
    panel: *const u32,
    units: usize,
) -> &'a [[i32; PANEL]] {
    let IntegerRows { x, x_stride, count, sums, sums_stride, streams, .. } = *rows;
    // SAFETY: by the caller's promise.
    let start = |row: usize| -ZERO_8 * unsafe { *sums.add(row * sums_stride) };
    // SAFETY: by the caller's promise.
    unsafe {
        let block = amx::Block { x, x_stride, rows: count, panel, units, streams };
        tiles.sums(&block, |row, sums| sums.fill(start(row)))
    }
}

for_each_isa! {
    /// Scales sums of rows and columns.
    fn scale_sums(sums: &[[i32; PANEL]], rows: &IntegerRows, scales: &[f32], out: TileOutput) {
        for (row, sums) in sums.iter().enumerate() {
            // SAFETY: the caller of `run` promises so many rows, and that they can be written.
            let (row_scale, out) = unsafe {
                (*rows.scales.add(row), std::slice::from_raw_parts_mut(out.to.add(row * out.stride), PANEL))
            };
            for ((out, sum), scale) in out.iter_mut().zip(sums).zip(scales) {
                *out = (*sum as f32) * scale * row_scale;
            }
        }
    }
}

/// Runs one tile of at most [`TILE_ROWS`] rows.
///
/// # Safety
/// As [`IntegerKernel::run`].
unsafe fn by_vectors(isa: Isa, rows: &IntegerRows, panel: &IntegerPanel, out: TileOutput) {
    debug_assert!((1..=TILE_ROWS).contains(&rows.count));
    // SAFETY: pointers by the caller's promise; instructions by the `Isa` value.
    unsafe {
        match isa.level() {
            #[cfg(target_arch = "x86_64")]
            Level::Avx512Vnni | Level::Avx512Bf16 | Level::Amx => x86::avx512_vnni(rows, panel, out),
            #[cfg(target_arch = "x86_64")]
            Level::AvxVnni => x86::avx_vnni(rows, panel, out),
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 | Level::Avx512 => x86::avx2(rows, panel, out),
            _ => all_rows::<scalar::Scalar, 2, 1>(rows, panel, out),
        }
    }
}

/// Words of a cache line.
pub const LINE_WORDS: usize = 16;

/// Asks for a line of memory, into the second-level cache.
#[inline(always)]
fn prefetch(line: *const u32) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint, which reads nothing that the program could see.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T1>(line.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = line;
}

/// Vectors of one instruction set.
trait Integers {
    /// 32-bit integers.
    type Sum: Copy;
    /// A vector of as many float32.
    type Float: Copy;
    /// Four bytes of weights for each lane.
    type Weight: Copy;
    /// Four bytes of one row's operand, in every lane.
    type Operand: Copy;
    /// Lanes of a vector.
    const LANES: usize;
    /// Zero point that remains in an 8-bit weight loaded by [`Self::weight_8`].
    const ZERO_8: i32;
    unsafe fn splat(value: i32) -> Self::Sum;
    unsafe fn weight_8(from: *const u32) -> Self::Weight;
    /// Both halves of 4-bit weights, as stored.
    unsafe fn weights_4(from: *const u32) -> [Self::Weight; 2];
    unsafe fn operand(from: *const u32) -> Self::Operand;
    unsafe fn dot_8(sum: Self::Sum, weight: Self::Weight, operand: Self::Operand) -> Self::Sum;
    unsafe fn dot_4(sum: Self::Sum, weight: Self::Weight, operand: Self::Operand) -> Self::Sum;
    unsafe fn to_float(sum: Self::Sum) -> Self::Float;
    unsafe fn zero() -> Self::Float;
    unsafe fn load(from: *const f32) -> Self::Float;
    unsafe fn load_bf16(from: *const u16) -> Self::Float;
    unsafe fn multiply(a: Self::Float, b: Self::Float) -> Self::Float;
    /// `a * b + c`, rounded once.
    unsafe fn fused(a: Self::Float, b: Self::Float, c: Self::Float) -> Self::Float;
    unsafe fn splat_float(value: f32) -> Self::Float;
    unsafe fn store(value: Self::Float, to: *mut f32);
    unsafe fn larger(a: Self::Float, b: Self::Float) -> Self::Float;
    unsafe fn largest(value: Self::Float) -> f32;
}

/// Integer sums of `R` rows by `V` vectors of an int8 panel, from column `column` on.
///
/// # Safety
/// As [`run`], and the caller must have the instructions of `S`.
#[inline(always)]
unsafe fn sums_8<S: Integers, const R: usize, const V: usize>(
    rows: &IntegerRows,
    (words, units): (*const u32, usize),
    column: usize,
    ahead: *const u32,
) -> [[S::Sum; V]; R] {
    // SAFETY: offsets stay inside what the caller promised.
    unsafe {
        let mut sums = [[S::splat(0); V]; R];
        for r in 0..R {
            sums[r] = [S::splat(-S::ZERO_8 * *rows.sums.add(r * rows.sums_stride)); V];
        }
        for unit in 0..units {
            if R > 1 && !ahead.is_null() {
                // A line for each step, so that what is asked for does not hold up what is needed now.
                prefetch(ahead.wrapping_add(unit * LINE_WORDS));
            }
            let word = words.add(unit * PANEL + column);
            let mut weights = [S::weight_8(word); V];
            for v in 1..V {
                weights[v] = S::weight_8(word.add(v * S::LANES));
            }
            for r in 0..R {
                let operand = S::operand(rows.x.add(r * rows.x_stride + unit));
                for v in 0..V {
                    sums[r][v] = S::dot_8(sums[r][v], weights[v], operand);
                }
            }
        }
        sums
    }
}

/// `R` rows by `V` vectors of an int8 panel.
///
/// # Safety
/// As [`sums_8`].
#[inline(always)]
unsafe fn block_8<S: Integers, const R: usize, const V: usize>(
    rows: &IntegerRows,
    (words, units, scales): (*const u32, usize, *const f32),
    out: TileOutput,
    column: usize,
) {
    // SAFETY: pointers by the caller's promise; the caller has the instructions of this set.
    unsafe {
        let sums = sums_8::<S, R, V>(rows, (words, units), column, std::ptr::null());
        for r in 0..R {
            let row_scale = S::splat_float(*rows.scales.add(r));
            for v in 0..V {
                let start = column + v * S::LANES;
                let scaled = S::multiply(S::to_float(sums[r][v]), S::load(scales.add(start)));
                S::store(S::multiply(scaled, row_scale), out.to.add(r * out.stride + start));
            }
        }
    }
}

/// `R` rows by `V` vectors of an int4 panel.
///
/// # Safety
/// As [`sums_8`].
#[inline(always)]
unsafe fn block_4<S: Integers, const R: usize, const V: usize>(
    rows: &IntegerRows,
    (words, groups, scales): (*const u32, usize, *const u16),
    out: TileOutput,
    column: usize,
) {
    // SAFETY: pointers by the caller's promise; the caller has the instructions of this set.
    unsafe {
        let mut totals = [[S::zero(); V]; R];
        for group in 0..groups {
            let mut sums = [[S::splat(0); V]; R];
            for r in 0..R {
                sums[r] = [S::splat(-ZERO_4 * *rows.sums.add(r * rows.sums_stride + group)); V];
            }
            for unit in 0..GROUP_WORDS {
                let word = words.add((group * GROUP_WORDS + unit) * PANEL + column);
                let mut weights = [S::weights_4(word); V];
                for v in 1..V {
                    weights[v] = S::weights_4(word.add(v * S::LANES));
                }
                for r in 0..R {
                    let x = rows.x.add(r * rows.x_stride + 2 * GROUP_WORDS * group + unit);
                    let (low, high) = (S::operand(x), S::operand(x.add(GROUP_WORDS)));
                    for v in 0..V {
                        sums[r][v] = S::dot_4(sums[r][v], weights[v][0], low);
                        sums[r][v] = S::dot_4(sums[r][v], weights[v][1], high);
                    }
                }
            }
            for v in 0..V {
                let scale = S::load_bf16(scales.add(group * PANEL + column + v * S::LANES));
                for r in 0..R {
                    totals[r][v] = S::fused(S::to_float(sums[r][v]), scale, totals[r][v]);
                }
            }
        }
        for r in 0..R {
            let row_scale = S::splat_float(*rows.scales.add(r));
            for v in 0..V {
                let to = out.to.add(r * out.stride + column + v * S::LANES);
                S::store(S::multiply(totals[r][v], row_scale), to);
            }
        }
    }
}

#[inline(always)]
unsafe fn block<S: Integers, const R: usize, const V: usize>(
    rows: &IntegerRows,
    panel: &IntegerPanel,
    out: TileOutput,
    column: usize,
) {
    // SAFETY: pointers by the caller's promise; the caller has the instructions of this set.
    unsafe {
        match *panel {
            IntegerPanel::Int8 { words, units, scales } => {
                block_8::<S, R, V>(rows, (words, units, scales), out, column);
            }
            IntegerPanel::Int4 { words, groups, scales } => {
                block_4::<S, R, V>(rows, (words, groups, scales), out, column);
            }
        }
    }
}

/// All rows of the tile: `V1` vectors at a time for a single row, `V` for several.
#[inline(always)]
unsafe fn all_rows<S: Integers, const V1: usize, const V: usize>(
    rows: &IntegerRows,
    panel: &IntegerPanel,
    out: TileOutput,
) {
    // SAFETY: pointers by the caller's promise; the caller has the instructions of this set.
    unsafe {
        let width = if rows.count == 1 { V1 } else { V } * S::LANES;
        for column in (0..PANEL).step_by(width) {
            match rows.count {
                1 => block::<S, 1, V1>(rows, panel, out, column),
                2 => block::<S, 2, V>(rows, panel, out, column),
                3 => block::<S, 3, V>(rows, panel, out, column),
                4 => block::<S, 4, V>(rows, panel, out, column),
                5 => block::<S, 5, V>(rows, panel, out, column),
                _ => block::<S, 6, V>(rows, panel, out, column),
            }
        }
    }
}

const _: () = assert!(TILE_ROWS == 6 && ZERO_8 == 128);
