//! Products with quantised weights: rows are quantised on the way in.
//!
//! Called by `product` and `screen`.
#![allow(unsafe_code)]

use std::cell::RefCell;

use super::{Multiply, Part, Product, TileOrigin};
use crate::cpu::matrix::{Data, Matrix};
use crate::cpu::panel::PANEL;
use crate::cpu::quantized::GROUP_WORDS;
use crate::cpu::tile::MOST_ROWS;
use crate::cpu::tile::integer::{IntegerKernel, IntegerPanel, IntegerRows};
use crate::cpu::words::Words;
use crate::isa::{Isa, for_each_isa};
use crate::quantize::{GROUP, Scheme, quantize_to_127};

thread_local! {
    static OPERANDS: RefCell<QuantizedOperands> = RefCell::default();
}

/// Rows of activations as integers, kept between calls so that a step allocates nothing.
#[derive(Default)]
pub(in crate::cpu) struct QuantizedOperands {
    words: Words,
    stride: usize,
    scales: Vec<f32>,
    sums: Vec<i32>,
    sums_stride: usize,
}

impl QuantizedOperands {
    /// Quantises rows of `cols` numbers for weights of a scheme.
    pub fn prepare(&mut self, isa: Isa, x: &[f32], cols: usize, scheme: Scheme) {
        let grouped = scheme == Scheme::Int4;
        let count = x.len() / cols;
        let groups = cols.div_ceil(GROUP);
        (self.stride, self.sums_stride) =
            if grouped { (groups * 2 * GROUP_WORDS, groups) } else { (cols.div_ceil(4), 1) };
        let words = count.next_multiple_of(MOST_ROWS) * self.stride;
        let words = self.words.at_least(words);
        self.scales.clear();
        self.sums.clear();
        for (x, words) in x.chunks_exact(cols).zip(words.chunks_exact_mut(self.stride)) {
            let bytes = as_bytes(words);
            bytes[cols..].fill(0);
            let row = quantize_to_127(isa, x, bytes);
            self.scales.push(row.scale);
            if grouped {
                let first = self.sums.len();
                self.sums.resize(first + groups, 0);
                group_sums(isa, bytes, &mut self.sums[first..]);
            } else {
                self.sums.push(row.sum);
            }
        }
    }

    /// Scale and signed bytes of one row.
    pub fn row(&self, row: usize) -> (f32, &[u8]) {
        (self.scales[row], bytes(&self.words.all()[row * self.stride..][..self.stride]))
    }

    /// A tile's rows from `first` on. If that is a multiple of [`MOST_ROWS`], so many can be read.
    pub fn rows(&self, first: usize, count: usize) -> IntegerRows {
        IntegerRows {
            x: self.words.all()[first * self.stride..].as_ptr(),
            x_stride: self.stride,
            scales: self.scales[first..first + count].as_ptr(),
            sums: self.sums[first * self.sums_stride..(first + count) * self.sums_stride].as_ptr(),
            sums_stride: self.sums_stride,
            count,
            streams: first == 0,
        }
    }
}

for_each_isa! {
    fn group_sums(bytes: &[u8], out: &mut [i32]) {
        for (group, out) in bytes.as_chunks::<GROUP>().0.iter().zip(out) {
            *out = group.iter().map(|q| i32::from(q.cast_signed())).sum();
        }
    }
}

fn as_bytes(words: &mut [u32]) -> &mut [u8] {
    // SAFETY: any bytes are words and the other way round; four of them are as long.
    unsafe { std::slice::from_raw_parts_mut(words.as_mut_ptr().cast(), words.len() * 4) }
}

fn bytes(words: &[u32]) -> &[u8] {
    // SAFETY: any words are bytes; four bytes are as long as a word.
    unsafe { std::slice::from_raw_parts(words.as_ptr().cast(), words.len() * 4) }
}

/// A panel of a quantised matrix.
fn panel_of(matrix: &Matrix, panel: usize) -> IntegerPanel {
    match &matrix.data {
        Data::PanelInt8(data) => {
            let units = matrix.cols.div_ceil(4);
            let words = data.words[panel * units * PANEL..][..units * PANEL].as_ptr();
            IntegerPanel::Int8 { words, units, scales: data.scales[panel * PANEL..][..PANEL].as_ptr() }
        }
        Data::PanelInt4(data) => {
            let groups = matrix.cols.div_ceil(GROUP);
            let (words, scales) = (groups * GROUP_WORDS * PANEL, groups * PANEL);
            let scales = data.scales[panel * scales..][..scales].as_ptr();
            IntegerPanel::Int4 { words: data.words[panel * words..][..words].as_ptr(), groups, scales }
        }
        _ => unreachable!("only quantised matrices come here"),
    }
}

/// How a quantised matrix holds its weights.
fn scheme(matrix: &Matrix) -> Scheme {
    if matches!(matrix.data, Data::PanelInt4(_)) { Scheme::Int4 } else { Scheme::Int8 }
}

/// Rows of a tile of a product of so many rows.
pub(super) fn tile_rows(isa: Isa, matrix: &Matrix, rows: usize) -> usize {
    IntegerKernel::rows_of(isa, scheme(matrix), matrix.cols, rows)
}

/// `Product::each_tile` for a quantised matrix.
pub(super) fn each_tile(product: &Product<'_>, part: Part, each: &mut dyn FnMut(TileOrigin, &mut Multiply<'_>)) {
    let Product { isa, rows, matrix, .. } = *product;
    OPERANDS.with_borrow_mut(|operands| {
        let x = &rows.x[part.rows.start * matrix.cols..part.rows.end * matrix.cols];
        operands.prepare(isa, x, matrix.cols, scheme(matrix));
        let mut kernel = IntegerKernel::new(isa, scheme(matrix), matrix.cols, rows.count);
        for tile in part.tiles(kernel.rows()) {
            let operands = operands.rows(tile.row - part.rows.start, tile.count);
            each(tile, &mut |panel, to| {
                // SAFETY: operands and panel are those of this product, `to` has room for the tile.
                unsafe { kernel.run(&operands, &panel_of(matrix, panel), to) };
            });
        }
    });
}
