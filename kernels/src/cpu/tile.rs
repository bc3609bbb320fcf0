//! The microkernel: a few rows of operands times one panel, accumulators in registers.
//!
//! Called by `product` (weights) and `attend_full` (keys and values packed as panels). One algorithm over a
//! small trait, compiled for each instruction set. Every output is one accumulator that takes its products
//! in the order of k, at any row count: this is what makes a row's result independent of its batch.
#![allow(unsafe_code)]
// Several arrays share each index; iterators would hide the register block's shape.
#![allow(clippy::needless_range_loop)]

#[cfg(target_arch = "x86_64")]
mod amx;
pub mod integer;
mod scalar;
#[cfg(not(target_arch = "x86_64"))]
mod without_amx;
#[cfg(target_arch = "x86_64")]
mod x86;

#[cfg(not(target_arch = "x86_64"))]
use without_amx as amx;

use super::panel::PANEL;
#[cfg(target_arch = "x86_64")]
use crate::isa::Vectors;
use crate::isa::{Isa, Level};

/// Rows that one call by vectors takes at most.
pub const TILE_ROWS: usize = 6;

/// Rows that one call takes at most on any machine. Operands are read as if there were a multiple of it.
pub const MOST_ROWS: usize = if amx::ROWS > TILE_ROWS { amx::ROWS } else { TILE_ROWS };

/// Operands of one product: which numbers stand on either side of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operands {
    /// float32 on both sides.
    F32,
    /// float32 rows; bfloat16 panels, widened exactly in registers.
    Widened,
    /// bfloat16 pairs on both sides.
    Bf16,
}

/// One call: `rows` rows against one panel.
#[derive(Clone, Copy)]
pub struct Tile {
    /// First row of operands: `f32` for [`Operands::F32`] and `Widened`, bfloat16 pairs for `Bf16`.
    pub x: *const u32,
    /// Distance between rows of `x`, in 32-bit words.
    pub x_stride: usize,
    /// Rows, 1 to [`Kernel::rows`].
    pub rows: usize,
    /// The panel: `units * PANEL` words.
    pub panel: *const u32,
    /// Steps of the input dimension: k for float32 panels, pairs of k for bfloat16 ones.
    pub units: usize,
    /// First output; `PANEL` numbers of each row are written.
    pub out: *mut f32,
    /// Distance between rows of `out`.
    pub out_stride: usize,
    /// Whether the products are added to what stands in `out`, after it.
    pub adds: bool,
    /// Whether the panel has to come from memory, and the next one after it.
    pub streams: bool,
}

/// The way that products of floats are computed: by vectors, or by AMX. A thread makes its own for each op.
pub struct Kernel {
    isa: Isa,
    operands: Operands,
    tiles: Option<amx::Tiles<f32>>,
}

impl Kernel {
    /// The way for operands of `units` words, or of several such numbers that have common divisors with this one only.
    ///
    /// The number of rows has no part in it, because the order of a sum depends on the way.
    pub fn new(isa: Isa, operands: Operands, units: usize) -> Self {
        let by_tiles = Self::takes_tiles(isa, operands, units);
        Self { isa, operands, tiles: by_tiles.then(|| amx::Tiles::new(isa)) }
    }

    fn takes_tiles(isa: Isa, operands: Operands, units: usize) -> bool {
        isa.level() == Level::Amx && operands == Operands::Bf16 && amx::Block::takes(units)
    }

    /// Rows that a call of such a kernel takes at most.
    pub fn rows_of(isa: Isa, operands: Operands, units: usize) -> usize {
        if Self::takes_tiles(isa, operands, units) { amx::ROWS } else { TILE_ROWS }
    }

    /// Rows that a call takes at most.
    pub fn rows(&self) -> usize {
        if self.tiles.is_some() { amx::ROWS } else { TILE_ROWS }
    }

    /// Runs one tile.
    ///
    /// # Safety
    /// `x` must be readable for `rows` rows of `units` words (`2 * units` for [`Operands::Widened`]), and for
    /// [`Operands::Bf16`] for as many rows as the next multiple of [`MOST_ROWS`]; `panel` for `units * PANEL` words,
    /// `out` writable (and readable, where it `adds`) for `rows` rows of `PANEL`; `Operands::Bf16` needs a level that
    /// multiplies them.
    pub unsafe fn run(&mut self, tile: &Tile) {
        // SAFETY: by the caller's promise.
        unsafe {
            match &mut self.tiles {
                Some(tiles) => by_tiles(tiles, tile),
                None => by_vectors(self.isa, self.operands, tile),
            }
        }
    }
}

/// Runs one tile of bfloat16 pairs by AMX.
///
/// # Safety
/// As [`Kernel::run`].
unsafe fn by_tiles(tiles: &mut amx::Tiles<f32>, tile: &Tile) {
    let Tile { x, x_stride, rows, panel, units, out, out_stride, adds, streams } = *tile;
    // SAFETY: by the caller's promise.
    let outputs = |row: usize| unsafe { std::slice::from_raw_parts_mut(out.add(row * out_stride), PANEL) };
    let start =
        |row: usize, sums: &mut [f32; PANEL]| if adds { sums.copy_from_slice(outputs(row)) } else { sums.fill(0.0) };
    // SAFETY: by the caller's promise.
    let sums = unsafe { tiles.sums(&amx::Block { x, x_stride, rows, panel, units, streams }, start) };
    sums.iter().enumerate().for_each(|(row, sums)| outputs(row).copy_from_slice(sums));
}

/// Runs one tile of at most [`TILE_ROWS`] rows by vectors.
///
/// # Safety
/// As [`Kernel::run`].
unsafe fn by_vectors(isa: Isa, operands: Operands, tile: &Tile) {
    debug_assert!((1..=TILE_ROWS).contains(&tile.rows));
    // SAFETY: pointers by the caller's promise; features by the `Isa` value.
    unsafe {
        match (isa.level().vectors(), operands) {
            #[cfg(target_arch = "x86_64")]
            (Vectors::V512, Operands::Bf16) if isa.level().multiplies_bf16() => x86::avx512_bf16(tile),
            (_, Operands::Bf16) => unreachable!("bfloat16 operands are chosen only where the machine multiplies them"),
            #[cfg(target_arch = "x86_64")]
            (Vectors::V512, Operands::F32) => x86::avx512_f32(tile),
            #[cfg(target_arch = "x86_64")]
            (Vectors::V512, Operands::Widened) => x86::avx512_widened(tile),
            #[cfg(target_arch = "x86_64")]
            (Vectors::V256, Operands::F32) => x86::avx2_f32(tile),
            #[cfg(target_arch = "x86_64")]
            (Vectors::V256, Operands::Widened) => x86::avx2_widened(tile),
            (_, Operands::F32) => scalar_f32(tile),
            (_, Operands::Widened) => scalar_widened(tile),
        }
    }
}

/// One step along the input dimension, for `V` vectors of a panel.
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
        if tile.adds {
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
    // SAFETY: pointers by the caller's promise; the caller has the instructions of this set.
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
