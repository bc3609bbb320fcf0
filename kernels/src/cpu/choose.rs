//! Choosing from the output table without multiplying all of it exactly.
//!
//! Called by `ops::sampling`. Beside the table there is a copy of 8-bit integers, and for each row a bound of how far
//! the copy lies from it. All rows are multiplied with the copy, which gives each panel a range that its logits
//! certainly lie in. Panels whose range reaches the wanted logits are then multiplied with the table itself, by the
//! very tiles of the whole product, so that their logits are the whole product's to the last bit.
//!
//! Where the ranges leave many panels to a draw, as under a mask that refuses an id of every panel, the most promising
//! panels are multiplied first, and their logits tell which others may still matter. Where a large part of the table is
//! needed after all, the whole product is computed instead.
//!
//! The bound. Let `x` be the operand the product multiplies, `a q` its quantised form, `w` a row of the table and `b p`
//! its quantised form. Then `x.w - ab q.p = a q.(w - b p) + (x - a q).w`, whose parts are at most `|a q| |w - b p|` and
//! `|x - a q| |w|` in Euclidean norms (Cauchy-Schwarz). The product's own rounding adds at most `K u |x| |w|` for `K`
//! sums of relative error `u = 2^-24` (Higham, "Accuracy and Stability of Numerical Algorithms", section 3.1); twice
//! that is allowed for. The bound's own float32 operations are covered by growing its factors by 2^-18.
#![allow(unsafe_code)]

use std::ops::Range;
use std::ptr::null;

use super::matrix::Matrix;
use super::panel::PANEL;
use super::panel_filter::{Floor, PanelFilter, Ranges, Wish};
use super::pool::{Pool, SharedMut};
use super::product::{self, Columns, Panel, Product, QuantizedOperands, Rows};
use super::rows;
use super::sample::LogitRows;
use super::screen::{LARGEST_NORM, SLACK, Screen};
use super::tile::integer::{Bounds, IntegerKernel, LINE_WORDS, RowBounds};
use super::tile::{MOST_ROWS, Operands, TILE_ROWS};
use crate::backend::OutputLayer;
use crate::isa::Isa;
use crate::math::round_bf16;
use crate::quantize::Scheme;
use crate::sampling::{Candidates, Draw, DrawRule, Draws};

/// Panels that are multiplied first for a draw that the ranges leave many to, beside one for each logit that it keeps.
const PROMISING: usize = 32;
/// How many times as many panels a draw must need for that.
const MANY: usize = 4;

/// Rows beyond which tiles are no faster than vectors: they pass over a panel twice then, whose memory comes less well
/// ahead of time. (256,000 x 512, two threads: 7.0 ms against 9.1 with 16 rows, 9.8 against 9.0 with 32.)
const MOST_TILED_ROWS: usize = 16;

/// Working memory of a choice, kept between calls.
#[derive(Default)]
pub(super) struct ScreenSpace {
    operands: QuantizedOperands,
    rounded: Vec<f32>,
    /// Factors of each row of activations.
    factors: Vec<RowBounds>,
    /// `[row][panel]`: the largest that a logit of the panel may be, and the largest that one certainly is.
    uppers: Vec<f32>,
    lowers: Vec<f32>,
    filter: PanelFilter,
    /// The least logit that an id needs to be kept, for each draw.
    floors: Vec<Floor>,
    /// Panels that are multiplied first, rows ascending and panels ascending in them; the others that draws depend on.
    promising: Vec<Panel>,
    survivors: Vec<Panel>,
    /// Logits under a draw's rule.
    ruled: Vec<f32>,
    candidates: Candidates,
}

/// One call's shapes and input.
pub(super) struct Choose<'a> {
    pub isa: Isa,
    pub pool: &'a Pool,
    /// The rows that are drawn from, and those between them.
    pub x: Rows<'a>,
    /// The first of them, as `draws` count.
    pub first: usize,
    pub output: OutputLayer<'a, Matrix>,
    pub draws: Draws<'a>,
}

impl Choose<'_> {
    /// Appends one id for each draw; `logits` is room for `[x.count, vocab]`.
    pub fn run(&self, screen: &Screen, space: &mut ScreenSpace, logits: &mut [f32], out: &mut Vec<Option<u32>>) {
        self.quantize(space);
        self.bound(screen, space);
        self.find_floors(space);
        let cap = self.output.softcap;
        let matrix = self.output.table;
        let product = Product { isa: self.isa, pool: self.pool, rows: self.x, matrix, columns: Columns::all(matrix) };
        let finish = |stretch: &mut [f32]| {
            if let Some(cap) = cap {
                rows::softcap(self.isa, stretch, cap);
            }
        };
        if !space.promising.is_empty() {
            product.run_panels(&space.promising, logits, finish);
            self.raise_floors(space, logits);
        }
        self.find_survivors(space);
        // A panel is read again for each row that needs it. The whole product reads it once for a tile of rows.
        if 2 * space.survivors.len() > self.x.count.div_ceil(TILE_ROWS) * self.panels() {
            product.run(logits, finish);
            let (isa, pool, vocab, first) = (self.isa, self.pool, matrix.rows, self.first);
            return LogitRows { isa, pool, logits, vocab, first }.draw(self.draws, out);
        }
        product.run_panels(&space.survivors, logits, finish);
        for draw in self.draws.list {
            out.push(self.choose(draw, space, logits));
        }
    }

    fn panels(&self) -> usize {
        self.output.table.panels()
    }

    /// Quantises the rows and computes the factors of their bounds.
    fn quantize(&self, space: &mut ScreenSpace) {
        let (isa, cols) = (self.isa, self.output.table.cols);
        space.rounded.clear();
        space.rounded.extend_from_slice(self.x.x);
        if product::operands(isa, &self.output.table.data) == Operands::Bf16 {
            space.rounded.iter_mut().for_each(|x| *x = round_bf16(*x));
        }
        space.operands.prepare(isa, &space.rounded, cols, Scheme::Int8);
        space.factors.clear();
        for (row, x) in space.rounded.chunks_exact(cols).enumerate() {
            let (scale, integers) = space.operands.row(row);
            space.factors.push(factors(x, integers, scale));
        }
    }

    /// Ranges of all panels.
    fn bound(&self, screen: &Screen, space: &mut ScreenSpace) {
        let (isa, panels, units) = (self.isa, self.panels(), self.output.table.cols.div_ceil(4));
        let count = self.x.count;
        space.uppers.resize(count * panels, 0.0);
        space.lowers.resize(count * panels, 0.0);
        let (uppers, lowers) = (SharedMut::new(&mut space.uppers), SharedMut::new(&mut space.lowers));
        let (operands, factors) = (&space.operands, &space.factors);
        // So many tiles ask for the whole of the next panel; fewer wait for memory anyway.
        let covered = count.div_ceil(TILE_ROWS) * LINE_WORDS >= PANEL;
        self.pool.split(panels, 2, |share| {
            let mut kernel = if count <= MOST_TILED_ROWS {
                IntegerKernel::new(isa, Scheme::Int8, self.output.table.cols, count)
            } else {
                IntegerKernel::of_vectors(isa)
            };
            for panel in share {
                let mut bounds = Bounds {
                    words: screen.panels.words[panel * units * PANEL..][..units * PANEL].as_ptr(),
                    units,
                    scales: screen.panels.scales[panel * PANEL..][..PANEL].as_ptr(),
                    errors: screen.errors[panel * PANEL..][..PANEL].as_ptr(),
                    norms: screen.norms[panel * PANEL..][..PANEL].as_ptr(),
                    ahead: if covered { screen.panels.words[(panel + 1) * units * PANEL..].as_ptr() } else { null() },
                };
                for first in (0..count).step_by(kernel.rows()) {
                    let rows = first..count.min(first + kernel.rows());
                    let operands = operands.rows(first, rows.len());
                    let mut ranges = [[0.0; 2]; MOST_ROWS];
                    // SAFETY: the panel is whole, and there are operands and factors for all rows.
                    unsafe { kernel.bound(&operands, &factors[rows.clone()], &bounds, &mut ranges) };
                    bounds.ahead = bounds.ahead.wrapping_add(units * LINE_WORDS);
                    for (row, [upper, lower]) in rows.zip(ranges) {
                        let place = row * panels + panel;
                        // SAFETY: this thread alone has this panel.
                        unsafe {
                            uppers.slice(place..place + 1)[0] = upper;
                            lowers.slice(place..place + 1)[0] = lower;
                        }
                    }
                }
            }
        });
    }

    /// The draws with their places in the list, what they wish of the logits, and the ranges of their rows.
    fn wishes<'s>(
        &'s self,
        ranges: RowRanges<'s>,
    ) -> impl Iterator<Item = (usize, &'s Draw, Wish<'s>, Ranges<'s>)> + 's {
        self.draws.list.iter().enumerate().map(move |(index, draw)| {
            let wish = Wish::of(draw, self.draws.rule(draw), self.output.softcap);
            (index, draw, wish, ranges.of(draw.row as usize - self.first))
        })
    }

    /// Floors of all draws from the ranges alone, and promising panels for those that they leave many panels to.
    fn find_floors(&self, space: &mut ScreenSpace) {
        let panels = self.panels();
        let ScreenSpace { factors, uppers, lowers, filter, floors, promising, .. } = space;
        let ranges = RowRanges { factors, uppers, lowers, panels };
        floors.clear();
        promising.clear();
        for (_, draw, wish, ranges) in self.wishes(ranges) {
            let floor = filter.floor(ranges, wish);
            floors.push(floor);
            let count = PROMISING + wish.kept;
            filter.begin(panels);
            filter.add(ranges, wish, floor);
            if ranges.are_known && filter.needed().nth(MANY * count).is_some() {
                let row = draw.row as usize - self.first;
                promising.extend(filter.promising(ranges, wish.rule, count).map(|panel| Panel { row, panel }));
            }
        }
        promising.sort_unstable();
        promising.dedup();
    }

    /// Raises the floors of draws by the logits of their rows' promising panels.
    fn raise_floors(&self, space: &mut ScreenSpace, logits: &[f32]) {
        let ScreenSpace { floors, promising, ruled, .. } = space;
        for (draw, floor) in self.draws.list.iter().zip(floors) {
            let panels = of_row(promising, draw.row as usize - self.first);
            ruled.clear();
            for panel in panels {
                self.append_ruled(draw, *panel, logits, ruled);
            }
            *floor = floor.max(Floor::of_known(ruled, draw.sampling.kept()));
        }
    }

    /// Panels that the draws depend on beside the promising ones, rows ascending and panels ascending in them.
    fn find_survivors(&self, space: &mut ScreenSpace) {
        let panels = self.panels();
        let ScreenSpace { factors, uppers, lowers, filter, floors, promising, survivors, candidates, .. } = space;
        let ranges = RowRanges { factors, uppers, lowers, panels };
        survivors.clear();
        // Reserved whole, so that no flatter row makes it grow in a later step.
        survivors.reserve(factors.len() * panels);
        candidates.reserve(self.output.table.rows);
        for row in 0..self.x.count {
            filter.begin(panels);
            for (index, draw, wish, ranges) in self.wishes(ranges) {
                if draw.row as usize == self.first + row {
                    filter.add(ranges, wish, floors[index]);
                }
            }
            let known = of_row(promising, row);
            let needed = filter.needed().map(|panel| Panel { row, panel });
            survivors.extend(needed.filter(|panel| known.binary_search(panel).is_err()));
        }
    }

    /// Appends the logits of one panel's ids under a draw's rule.
    fn append_ruled(&self, draw: &Draw, of: Panel, logits: &[f32], out: &mut Vec<f32>) -> Range<usize> {
        let vocab = self.output.table.rows;
        let ids = of.panel * PANEL..vocab.min((of.panel + 1) * PANEL);
        let start = out.len();
        out.extend_from_slice(&logits[of.row * vocab..][ids.clone()]);
        self.draws.rule(draw).apply_from(ids.start as u32, &mut out[start..]);
        ids
    }

    fn choose(&self, draw: &Draw, space: &mut ScreenSpace, logits: &[f32]) -> Option<u32> {
        let ScreenSpace { promising, survivors, ruled, candidates, .. } = space;
        let row = draw.row as usize - self.first;
        candidates.clear();
        for panel in of_row(promising, row).iter().chain(of_row(survivors, row)) {
            ruled.clear();
            let ids = self.append_ruled(draw, *panel, logits, ruled);
            candidates.extend((ids.start as u32..).zip(ruled.iter().copied()));
        }
        candidates.choose(draw, DrawRule::default())
    }
}

/// Ranges of the panels of all rows.
#[derive(Clone, Copy)]
struct RowRanges<'a> {
    factors: &'a [RowBounds],
    uppers: &'a [f32],
    lowers: &'a [f32],
    panels: usize,
}

impl<'a> RowRanges<'a> {
    fn of(&self, row: usize) -> Ranges<'a> {
        let range = row * self.panels..(row + 1) * self.panels;
        let (uppers, lowers) = (&self.uppers[range.clone()], &self.lowers[range]);
        Ranges { uppers, lowers, are_known: self.factors[row].is_bounded() }
    }
}

/// Panels of one row among the panels, which ascend by row.
fn of_row(panels: &[Panel], row: usize) -> &[Panel] {
    &panels[panels.partition_point(|panel| panel.row < row)..panels.partition_point(|panel| panel.row <= row)]
}

/// The factors of a row's bounds; unbounded for a row that is not to be screened.
fn factors(x: &[f32], integers: &[u8], scale: f32) -> RowBounds {
    let (mut quantized, mut error, mut norm) = (0.0, 0.0, 0.0);
    for (&x, q) in x.iter().zip(integers) {
        let (x, stands_for) = (f64::from(x), f64::from(q.cast_signed()) * f64::from(scale));
        quantized += stands_for * stands_for;
        error += (x - stands_for) * (x - stands_for);
        norm += x * x;
    }
    let (quantized, error, norm) = (quantized.sqrt(), error.sqrt(), norm.sqrt());
    if norm.is_nan() || norm > LARGEST_NORM {
        return RowBounds::UNBOUNDED;
    }
    let rounding = x.len() as f64 * (2.0_f64).powi(-23) * norm;
    // The estimate itself is rounded: it is at most `|a q| (|w| + |w - b p|)`.
    RowBounds {
        of_error: (quantized * (1.0 + 2.0 * SLACK)) as f32 + f32::MIN_POSITIVE,
        of_norm: ((error + rounding + quantized * SLACK) * (1.0 + SLACK)) as f32 + f32::MIN_POSITIVE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::weight_memory::{Packing, WeightMemory};
    use crate::number::DType;
    use crate::quantize::quantize_row;
    use crate::weights::{MatrixUse, WeightFormat, WeightPart};

    /// Checks a panel's range against its logits in double precision, with activations made to reach the bound: in the
    /// direction of a row's rounding error, of its signs, and of the row.
    #[test]
    fn every_panels_largest_logit_lies_within_its_range() {
        let vocab = 200;
        for cols in [1, 33, 96, 1153] {
            let mut table = vec![0.0; vocab * cols];
            let random = WeightPart::Random { rows: vocab, cols, seed: 5, deviation: 1.0 };
            table.chunks_mut(cols).enumerate().for_each(|(row, out)| random.read_row(row, out));
            // One row of a panel counts, so that its own error is what the range must make room for.
            for (id, row) in table.chunks_mut(cols).enumerate() {
                let factor = if id % PANEL == 17 { 1.0 } else { 1e-6 };
                row.iter_mut().for_each(|w| *w = round_bf16(*w * factor));
            }
            let bytes: Vec<u8> = table.iter().flat_map(|w| w.to_le_bytes()).collect();
            let part = WeightPart::Stored { rows: vocab, cols, dtype: DType::F32, bytes: &bytes };
            let mut x = Vec::new();
            for row in table.chunks(cols).skip(17).step_by(PANEL) {
                let (mut q, mut scale) = (vec![0; cols], [0; 4]);
                quantize_row(Scheme::Int8, row, &mut q, &mut scale);
                let error = |(w, q): (&f32, &u8)| w - f32::from(q.cast_signed()) * f32::from_le_bytes(scale);
                x.extend(row.iter().zip(&q).map(error));
                x.extend(row.iter().zip(&q).map(|pair| error(pair).signum() * 0.37));
                x.extend(row.iter().map(|w| w * 3.1));
            }
            let count = x.len() / cols;
            for isa in Isa::all() {
                let pool = Pool::new(2);
                let memory = WeightMemory::default();
                let packing = Packing { pool: &pool, memory: &memory };
                let matrix = Matrix::pack(packing, &[part], WeightFormat::Bf16, MatrixUse::Output).unwrap();
                let output = OutputLayer { table: &matrix, softcap: None };
                let draws = Draws::free(&[]);
                let choose = Choose { isa, pool: &pool, x: Rows { x: &x, count }, first: 0, output, draws };
                let mut space = ScreenSpace::default();
                choose.quantize(&mut space);
                choose.bound(matrix.screen.as_ref().unwrap(), &mut space);
                for (row, x) in space.rounded.chunks(cols).enumerate() {
                    for panel in 0..vocab / PANEL {
                        let of_row =
                            |w: &[f32]| w.iter().zip(x).map(|(w, x)| f64::from(*w) * f64::from(*x)).sum::<f64>();
                        let ids = panel * PANEL * cols..(panel + 1) * PANEL * cols;
                        let largest = table[ids].chunks(cols).map(of_row).fold(f64::NEG_INFINITY, f64::max);
                        let place = row * matrix.panels() + panel;
                        let range = f64::from(space.lowers[place])..=f64::from(space.uppers[place]);
                        assert!(range.contains(&largest), "{isa:?}, {cols}, {row}, {panel}: {largest} in {range:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn rows_that_are_no_numbers_are_not_screened() {
        assert!(!factors(&[1.0, f32::NAN], &[1, 0], f32::NAN).is_bounded());
        assert!(!factors(&[1.0, f32::INFINITY], &[1, 0], f32::NAN).is_bounded());
        assert!(!factors(&[1e30, 1.0], &[127, 0], 1e28).is_bounded());
        assert!(factors(&[0.0, 0.0], &[0, 0], 0.0).is_bounded());
    }
}
