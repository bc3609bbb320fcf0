//! Ranges of a screened table's logits: the largest that each row's may be in a panel, and the largest that one is.
//!
//! Called by `screen`. The integer sums are those of the tiles.
#![allow(unsafe_code)]

#[cfg(target_arch = "x86_64")]
use super::x86;
use super::{IntegerKernel, IntegerRows, Integers, scalar, sums_8, sums_by_tiles};
use crate::cpu::panel::PANEL;
use crate::cpu::tile::{MOST_ROWS, TILE_ROWS};
#[cfg(target_arch = "x86_64")]
use crate::isa::Level;
use crate::isa::{Isa, for_each_isa};

/// One panel of a screened table.
#[derive(Clone, Copy)]
pub struct Bounds {
    /// int8 words, `units * PANEL`.
    pub words: *const u32,
    /// Words of a column.
    pub units: usize,
    /// `PANEL` scales.
    pub scales: *const f32,
    /// `PANEL` norms of the columns' rounding errors.
    pub errors: *const f32,
    /// `PANEL` norms of the columns.
    pub norms: *const f32,
    /// Memory that will be read soon, asked for while this panel is multiplied with several rows: a line for each of
    /// `units` steps. Any address is allowed; null asks for nothing.
    pub ahead: *const u32,
}

/// Bound on the error of a row's estimates: `of_error` times the norm of the column's rounding error, plus `of_norm`
/// times the norm of the column.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RowBounds {
    /// Factor of the column's error norm.
    pub of_error: f32,
    /// Factor of the column's norm.
    pub of_norm: f32,
}

impl RowBounds {
    /// Bound of a row whose estimates mean nothing.
    pub const UNBOUNDED: Self = Self { of_error: f32::INFINITY, of_norm: f32::INFINITY };

    /// Whether estimates of the row mean something.
    pub fn is_bounded(&self) -> bool {
        self.of_norm < f32::INFINITY && self.of_error < f32::INFINITY
    }
}

impl IntegerKernel {
    /// For each row, the largest that a logit of the panel may be, and the largest that one certainly is.
    ///
    /// # Safety
    /// As [`Self::run`], for an int8 panel; there must be as many `factors` as rows.
    pub unsafe fn bound(
        &mut self,
        rows: &IntegerRows,
        factors: &[RowBounds],
        bounds: &Bounds,
        out: &mut [[f32; 2]; MOST_ROWS],
    ) {
        assert!(factors.len() == rows.count && rows.count <= self.rows());
        let Some(tiles) = &mut self.tiles else {
            let out = out.first_chunk_mut().expect("it has room for the rows of a tile");
            // SAFETY: by the caller's promise.
            return unsafe { bound_by_vectors(self.isa, rows, factors, bounds, out) };
        };
        // SAFETY: by the caller's promise.
        let sums = unsafe { sums_by_tiles(tiles, rows, bounds.words, bounds.units) };
        bound_sums(self.isa, sums, rows, factors, bounds, out);
    }
}

/// Lanes of the running largest numbers.
const LANES: usize = 16;

for_each_isa! {
    /// Ranges of rows from their sums, by the operations of `bound_block`.
    fn bound_sums(
        sums: &[[i32; PANEL]],
        rows: &IntegerRows,
        factors: &[RowBounds],
        bounds: &Bounds,
        out: &mut [[f32; 2]; MOST_ROWS],
    ) {
        // SAFETY: the caller of `bound` promises `PANEL` numbers each.
        let [scales, errors, norms] = [bounds.scales, bounds.errors, bounds.norms]
            .map(|first| unsafe { std::slice::from_raw_parts(first, PANEL) }.as_chunks::<LANES>().0);
        for (row, ((sums, factor), out)) in sums.iter().zip(factors).zip(out).enumerate() {
            // SAFETY: the caller of `bound` promises so many rows.
            let row_scale = unsafe { *rows.scales.add(row) };
            let mut largest = [[f32::NEG_INFINITY; LANES]; 2];
            for (part, sums) in sums.as_chunks::<LANES>().0.iter().enumerate() {
                for lane in 0..LANES {
                    let estimate = (sums[lane] as f32) * scales[part][lane] * row_scale;
                    let reach = factor.of_error.mul_add(errors[part][lane], factor.of_norm * norms[part][lane]);
                    for (largest, bound) in largest.iter_mut().zip([reach + estimate, estimate - reach]) {
                        largest[lane] = if largest[lane] > bound { largest[lane] } else { bound };
                    }
                }
            }
            *out = largest.map(|lanes| lanes.into_iter().fold(f32::NEG_INFINITY, f32::max));
        }
    }
}

/// The ranges of at most [`TILE_ROWS`] rows.
///
/// # Safety
/// As [`IntegerKernel::bound`].
unsafe fn bound_by_vectors(
    isa: Isa,
    rows: &IntegerRows,
    factors: &[RowBounds],
    bounds: &Bounds,
    out: &mut [[f32; 2]; TILE_ROWS],
) {
    // SAFETY: pointers by the caller's promise; instructions by the `Isa` value.
    unsafe {
        match isa.level() {
            #[cfg(target_arch = "x86_64")]
            Level::Avx512Vnni | Level::Avx512Bf16 | Level::Amx => x86::bound_512(rows, factors, bounds, out),
            #[cfg(target_arch = "x86_64")]
            Level::AvxVnni => x86::bound_vnni(rows, factors, bounds, out),
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 | Level::Avx512 => x86::bound_avx2(rows, factors, bounds, out),
            _ => bound_rows::<scalar::Scalar, 1>(rows, factors, bounds, out),
        }
    }
}

/// Ranges of `R` rows over a whole panel, `V` vectors at a time.
///
/// # Safety
/// As [`sums_8`], and `R` rows must have factors.
#[inline(always)]
unsafe fn bound_block<S: Integers, const R: usize, const V: usize>(
    rows: &IntegerRows,
    factors: &[RowBounds],
    bounds: &Bounds,
    out: &mut [[f32; 2]; TILE_ROWS],
) {
    // SAFETY: pointers by the caller's promise; the caller has the instructions of this set.
    unsafe {
        let lowest = S::splat_float(f32::NEG_INFINITY);
        let mut ranges = [[lowest; 2]; R];
        for column in (0..PANEL).step_by(V * S::LANES) {
            let sums = sums_8::<S, R, V>(rows, (bounds.words, bounds.units), column, bounds.ahead);
            for v in 0..V {
                let start = column + v * S::LANES;
                let scale = S::load(bounds.scales.add(start));
                let (error, norm) = (S::load(bounds.errors.add(start)), S::load(bounds.norms.add(start)));
                for r in 0..R {
                    let row_scale = S::splat_float(*rows.scales.add(r));
                    let estimate = S::multiply(S::multiply(S::to_float(sums[r][v]), scale), row_scale);
                    let of_norm = S::multiply(S::splat_float(factors[r].of_norm), norm);
                    let reach = S::fused(S::splat_float(factors[r].of_error), error, of_norm);
                    let one = S::splat_float(1.0);
                    ranges[r][0] = S::larger(ranges[r][0], S::fused(reach, one, estimate));
                    ranges[r][1] = S::larger(ranges[r][1], S::fused(reach, S::splat_float(-1.0), estimate));
                }
            }
        }
        for r in 0..R {
            out[r] = ranges[r].map(|range| S::largest(range));
        }
    }
}

/// All rows of the tile.
#[inline(always)]
pub(super) unsafe fn bound_rows<S: Integers, const V: usize>(
    rows: &IntegerRows,
    factors: &[RowBounds],
    bounds: &Bounds,
    out: &mut [[f32; 2]; TILE_ROWS],
) {
    // SAFETY: pointers by the caller's promise; the caller has the instructions of this set.
    unsafe {
        match rows.count {
            1 => bound_block::<S, 1, V>(rows, factors, bounds, out),
            2 => bound_block::<S, 2, V>(rows, factors, bounds, out),
            3 => bound_block::<S, 3, V>(rows, factors, bounds, out),
            4 => bound_block::<S, 4, V>(rows, factors, bounds, out),
            5 => bound_block::<S, 5, V>(rows, factors, bounds, out),
            _ => bound_block::<S, 6, V>(rows, factors, bounds, out),
        }
    }
}
