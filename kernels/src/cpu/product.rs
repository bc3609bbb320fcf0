//! Rows of activations times a packed matrix.
//!
//! Called by `linear` and `logits`. Few rows: the threads share the panels, so that together they read every
//! weight once. Many rows: each thread takes its own rows, in blocks that stay in its cache.
#![allow(unsafe_code)]

mod gated;
mod integer;

use std::cell::RefCell;
use std::ops::Range;

use super::matrix::{Data, Matrix};
use super::panel::PANEL;
use super::pool::{ALONE, Pool, SharedMut};
use super::tile::integer::TileOutput;
use super::tile::{Kernel, MOST_ROWS, Operands, TILE_ROWS, Tile};
use super::words::Words;
use crate::isa::{Isa, for_each_isa};
use crate::math;

pub(super) use integer::QuantizedOperands;

/// Bytes of operands that a block of rows may take: half of a usual second-level cache.
const BLOCK_BYTES: usize = 512 * 1024;

/// Weights below which a product stays on the calling thread.
const LEAST_WEIGHTS: usize = 1 << 14;
/// Rows a thread must have before it is worth reading all weights for them alone.
const MANY_ROWS: usize = 96;

thread_local! {
    /// Rows in the form the tiles read them; kept between calls so that a step allocates nothing.
    static OPERANDS: RefCell<Words> = const { RefCell::new(Words::new()) };
}

/// The rows of one product.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    /// `[count, cols]`.
    pub x: &'a [f32],
    /// Rows.
    pub count: usize,
}

/// Which operands a matrix of this number type multiplies with on this machine.
pub(super) fn operands(isa: Isa, data: &Data) -> Operands {
    match data {
        Data::PanelBf16(_) if isa.level().multiplies_bf16() => Operands::Bf16,
        Data::PanelBf16(_) => Operands::Widened,
        _ => Operands::F32,
    }
}

/// Steps of the input dimension in a panel of floats.
fn units(isa: Isa, data: &Data, cols: usize) -> usize {
    if operands(isa, data) == Operands::F32 { cols } else { cols.div_ceil(2) }
}

/// Successive output columns of a matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Columns {
    pub start: usize,
    pub end: usize,
}

impl Columns {
    /// All columns of a matrix.
    pub const fn all(matrix: &Matrix) -> Self {
        Self { start: 0, end: matrix.rows }
    }

    const fn count(self) -> usize {
        self.end - self.start
    }

    /// Panels that hold the columns; the first and the last may hold others as well.
    const fn panels(self) -> Range<usize> {
        self.start / PANEL..self.end.div_ceil(PANEL)
    }
}

/// Rows times a matrix, or times some of its columns.
pub(super) struct Product<'a> {
    pub isa: Isa,
    pub pool: &'a Pool,
    pub rows: Rows<'a>,
    pub matrix: &'a Matrix,
    pub columns: Columns,
}

/// One row against one panel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Panel {
    pub row: usize,
    pub panel: usize,
}

/// Multiplies the rows of a tile by a panel, given by its index, and writes the outputs.
type Multiply<'a> = dyn FnMut(usize, TileOutput) + 'a;

impl Product<'_> {
    /// `out[row, i] = finish(x[row] . matrix[columns.start + i])`; `out` is `[count, columns]`. `finish` sees each
    /// finished stretch of outputs once, while it is in the cache.
    pub fn run(&self, out: &mut [f32], finish: impl Fn(&mut [f32]) + Sync) {
        let out = SharedMut::new(&mut out[..self.rows.count * self.columns.count()]);
        self.each_part(self.columns.panels(), |part| self.run_part(&out, part, &finish));
    }

    /// Calls `work` for parts that are all rows times these panels together, from all threads.
    fn each_part(&self, of: Range<usize>, work: impl Fn(Part) + Sync) {
        let Self { pool, rows, matrix, .. } = *self;
        let tile_rows = self.tile_rows();
        let block = (BLOCK_BYTES / (matrix.cols * 2)).clamp(8 * TILE_ROWS, 1024) / tile_rows * tile_rows;
        let panels = of.len();
        let parts = if rows.count >= MANY_ROWS * pool.threads() && self.rows_outweigh_weights() {
            pool.threads()
        } else {
            // Two items a thread even the shares out; more parts would only read the weights more often.
            (2 * pool.threads()).div_ceil(panels.max(1)).min(rows.count.div_ceil(tile_rows)).max(1)
        };
        let part_rows = rows.count.div_ceil(parts).next_multiple_of(tile_rows);
        let least = if self.columns.count() * matrix.cols < LEAST_WEIGHTS { ALONE } else { 2 };
        // Items are panels of parts, part by part: a share is a stretch of them.
        pool.split(parts * panels, least, |share| {
            for part in share.start / panels..share.end.div_ceil(panels) {
                let first = part * panels;
                let own = share.start.max(first) - first..share.end.min(first + panels) - first;
                let own = of.start + own.start..of.start + own.end;
                let end = rows.count.min((part + 1) * part_rows);
                for start in (part * part_rows..end).step_by(block) {
                    work(Part { rows: start..end.min(start + block), panels: own.clone() });
                }
            }
        });
    }

    /// Writes what [`Self::run`] would write for the given rows and panels, and nothing else. Columns are all columns.
    pub fn run_panels(&self, wanted: &[Panel], out: &mut [f32], finish: impl Fn(&mut [f32]) + Sync) {
        let out = SharedMut::new(&mut out[..self.rows.count * self.columns.count()]);
        self.pool.split(wanted.len(), 2, |share| {
            for &Panel { row, panel } in &wanted[share] {
                self.run_part(&out, Part { rows: row..row + 1, panels: panel..panel + 1 }, &finish);
            }
        });
    }

    /// Whether the rows take more memory than the weights: reading these once for each thread costs less then than
    /// reading the rows so often.
    fn rows_outweigh_weights(&self) -> bool {
        let Matrix { rows: outputs, cols, data, .. } = self.matrix;
        self.rows.count * cols * size_of::<f32>() * outputs >= data.bytes() * self.columns.count()
    }

    /// Rows of a tile.
    fn tile_rows(&self) -> usize {
        let Self { isa, rows, matrix, .. } = *self;
        match &matrix.data {
            Data::PanelInt8(_) | Data::PanelInt4(_) => integer::tile_rows(isa, matrix, rows.count),
            data => Kernel::rows_of(isa, operands(isa, data), units(isa, data, matrix.cols)),
        }
    }

    fn run_part(&self, out: &SharedMut<'_, f32>, part: Part, finish: &impl Fn(&mut [f32])) {
        self.each_tile(part, &mut |tile, multiply| {
            write_tile(self.columns, out, tile, finish, |to| multiply(tile.panel, to));
        });
    }

    /// Calls `each` for the tiles of a part, panel by panel, with a function that multiplies the tile's rows by any
    /// panel. It writes to a place that must have room for them.
    fn each_tile(&self, part: Part, each: &mut dyn FnMut(TileOrigin, &mut Multiply<'_>)) {
        let Self { isa, rows, matrix, .. } = *self;
        let kind = operands(isa, &matrix.data);
        let units = units(isa, &matrix.data, matrix.cols);
        let panels: &[u32] = match &matrix.data {
            Data::PanelF32(data) => as_bits(data),
            Data::PanelBf16(data) => data,
            Data::PanelInt8(_) | Data::PanelInt4(_) => return integer::each_tile(self, part, each),
            Data::RowsF32(_) | Data::RowsBf16(_) => unreachable!("lookup tables are not multiplied"),
        };
        OPERANDS.with_borrow_mut(|scratch| {
            let x = &rows.x[part.rows.start * matrix.cols..part.rows.end * matrix.cols];
            let (x, x_stride) = prepare(isa, kind, x, matrix.cols, scratch);
            let mut kernel = Kernel::new(isa, kind, units);
            for tile in part.tiles(kernel.rows()) {
                each(tile, &mut |panel, TileOutput { to, stride }| {
                    let tile = Tile {
                        x: x[(tile.row - part.rows.start) * x_stride..].as_ptr(),
                        x_stride,
                        rows: tile.count,
                        panel: panels[panel * units * PANEL..][..units * PANEL].as_ptr(),
                        units,
                        out: to,
                        out_stride: stride,
                        adds: false,
                        streams: tile.row == part.rows.start,
                    };
                    // SAFETY: `x` holds the rows, `panels` the panel, and there is room for the outputs.
                    unsafe { kernel.run(&tile) };
                });
            }
        });
    }
}

struct Part {
    rows: Range<usize>,
    panels: Range<usize>,
}

impl Part {
    /// All tiles of so many rows at most, panel by panel.
    fn tiles(&self, most: usize) -> impl Iterator<Item = TileOrigin> {
        let rows = self.rows.clone();
        self.panels.clone().flat_map(move |panel| {
            let end = rows.end;
            rows.clone().step_by(most).map(move |row| TileOrigin { row, count: most.min(end - row), panel })
        })
    }
}

/// Rows and panel of one tile.
#[derive(Clone, Copy)]
struct TileOrigin {
    row: usize,
    count: usize,
    panel: usize,
}

/// Lets `run` write a tile to its place, and finishes it. Where not all columns of the panel are
/// wanted, the tile goes through memory of its own.
fn write_tile(
    columns: Columns,
    out: &SharedMut<'_, f32>,
    TileOrigin { row, count, panel }: TileOrigin,
    finish: &impl Fn(&mut [f32]),
    run: impl FnOnce(TileOutput),
) {
    let column = panel * PANEL;
    let wanted = column.max(columns.start)..(column + PANEL).min(columns.end);
    let (width, pitch) = (wanted.len(), columns.count());
    let first = row * pitch + wanted.start - columns.start;
    // SAFETY: this thread alone writes these rows and columns of `out`.
    let written = |r: usize| unsafe { out.slice(first + r * pitch..first + r * pitch + width) };
    if width == PANEL {
        // SAFETY: the tile has these rows and columns of `out`, and no other thread has them.
        run(TileOutput { to: unsafe { out.at(first) }, stride: pitch });
        (0..count).for_each(|r| finish(written(r)));
        return;
    }
    let mut edge = [0.0_f32; MOST_ROWS * PANEL];
    run(TileOutput { to: edge.as_mut_ptr(), stride: PANEL });
    for r in 0..count {
        let written = written(r);
        written.copy_from_slice(&edge[r * PANEL + wanted.start - column..][..width]);
        finish(written);
    }
}

/// Rows of float32 in the form of `kind`, with the words of a row: as they are, or converted into `room`, where further
/// rows follow up to a multiple of [`MOST_ROWS`], which hold anything.
pub(super) fn prepare<'a>(
    isa: Isa,
    kind: Operands,
    x: &'a [f32],
    cols: usize,
    room: &'a mut Words,
) -> (&'a [u32], usize) {
    let stride = match kind {
        Operands::F32 => return (as_bits(x), cols),
        Operands::Widened if cols.is_multiple_of(2) => return (as_bits(x), cols),
        Operands::Widened => cols + 1,
        Operands::Bf16 => cols.div_ceil(2),
    };
    let words = (x.len() / cols).next_multiple_of(MOST_ROWS) * stride;
    let room = room.at_least(words);
    for (x, out) in x.chunks_exact(cols).zip(room.chunks_exact_mut(stride)) {
        if kind == Operands::Bf16 {
            pair_rows(isa, x, out);
        } else {
            out[..cols].copy_from_slice(as_bits(x));
            out[cols] = 0;
        }
    }
    (&room[..words], stride)
}

/// The bits of float32 numbers.
fn as_bits(numbers: &[f32]) -> &[u32] {
    // SAFETY: float32 and u32 have the same size and alignment, and any bits are a u32.
    unsafe { std::slice::from_raw_parts(numbers.as_ptr().cast(), numbers.len()) }
}

for_each_isa! {
    /// Rounds a row to bfloat16 and pairs neighbours; a missing last partner is zero.
    pub(super) fn pair_rows(x: &[f32], out: &mut [u32]) {
        let (pairs, rest) = x.as_chunks::<2>();
        for (out, pair) in out.iter_mut().zip(pairs) {
            *out = u32::from(math::bf16_bits(pair[1])) << 16 | u32::from(math::bf16_bits(pair[0]));
        }
        if let ([last], Some(out)) = (rest, out.get_mut(pairs.len())) {
            *out = u32::from(math::bf16_bits(*last));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::Mutex;
    use std::thread;

    use super::*;
    use crate::cpu::weight_memory::{Packing, WeightMemory};
    use crate::weights::{MatrixUse, WeightFormat, WeightPart};

    #[test]
    fn every_thread_takes_its_part_of_a_single_row() {
        let pool = Pool::new(2);
        let part = WeightPart::Random { rows: 512, cols: 128, seed: 1, deviation: 1.0 };
        let memory = WeightMemory::default();
        let packing = Packing { pool: &pool, memory: &memory };
        let matrix = Matrix::pack(packing, &[part], WeightFormat::Bf16, MatrixUse::Multiply).unwrap();
        let finished = Mutex::new(Vec::new());
        let mut out = vec![0.0; matrix.rows];
        let rows = Rows { x: &[1.0; 128], count: 1 };
        let columns = Columns::all(&matrix);
        Product { isa: Isa::detect(), pool: &pool, rows, matrix: &matrix, columns }.run(&mut out, |stretch| {
            finished.lock().unwrap().push((thread::current().id(), stretch.len()));
        });
        let finished = finished.into_inner().unwrap();
        assert_eq!(finished.iter().map(|(_, len)| len).sum::<usize>(), 512);
        assert_eq!(finished.iter().map(|(thread, _)| *thread).collect::<HashSet<_>>().len(), 2);
        let own = finished.iter().filter(|(id, _)| *id == thread::current().id()).map(|(_, len)| len).sum::<usize>();
        assert_eq!(own, 256, "half of the columns each");
    }
}
