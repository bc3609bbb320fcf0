//! Quantised weights in the layout that the integer tiles stream.
//!
//! Made by `matrix`, read by `product` and `screen`. Panels as for floats, the input dimension slowest. int8: words of
//! four inputs, `[panel][k / 4][column][4]`, each byte `q + 128`. int4: groups of 32 inputs,
//! `[panel][group][4][column][4]`; byte `b` of word `u` holds inputs `4u + b` and, in its high half, `16 + 4u + b`,
//! each as `q + 8`. The rows that are multiplied are padded with zeros, so that what pads the inputs does not count.
#![allow(unsafe_code)]

use super::buffer::Buffer;
use super::panel::PANEL;
use super::parts::Parts;
use super::pool::{Pool, SharedMut};
use super::weight_memory::Packing;
use crate::error::Result;
use crate::quantize::{GROUP, Scheme, nibble, quantize_row};
use crate::weights::QuantizedRowMut;

/// Words of one column in one group of int4.
pub const GROUP_WORDS: usize = 4;
/// Stored value of an int8 weight of zero.
pub const ZERO_8: i32 = 128;
/// Stored value of an int4 weight of zero.
pub const ZERO_4: i32 = 8;

/// A matrix of 8-bit integers.
pub(crate) struct Panels8 {
    pub words: Buffer<u32>,
    /// `[panel][column]`.
    pub scales: Buffer<f32>,
}

/// A matrix of 4-bit integers.
pub(crate) struct Panels4 {
    pub words: Buffer<u32>,
    /// bfloat16, `[panel][group][column]`.
    pub scales: Buffer<u16>,
}

/// Rows of a weight as integers: as they are stored, or quantised on the way.
pub(super) struct QuantizedRows<'a> {
    pub parts: Parts<'a>,
    pub scheme: Scheme,
}

/// One row's integers and scales.
struct Row {
    values: Vec<f32>,
    integers: Vec<u8>,
    scales: Vec<u8>,
}

impl Row {
    /// The scale of a row of [`Scheme::Int8`].
    fn scale(&self) -> f32 {
        self.scales.first_chunk().map_or(0.0, |bytes| f32::from_le_bytes(*bytes))
    }
}

impl QuantizedRows<'_> {
    fn row(&self) -> Row {
        let cols = self.cols();
        let (integers, scales) = (self.scheme.integer_bytes(cols), self.scheme.scale_bytes(cols));
        Row { values: vec![0.0; cols], integers: vec![0; integers], scales: vec![0; scales] }
    }

    fn read(&self, index: usize, row: &mut Row) {
        let out = QuantizedRowMut { integers: &mut row.integers, scales: &mut row.scales };
        self.parts.quantized_row(index, self.scheme, &mut row.values, out);
    }

    fn cols(&self) -> usize {
        self.parts.cols()
    }

    /// Rows of all parts.
    pub fn count(&self) -> usize {
        self.parts.rows()
    }

    /// Calls `place(panel, lane, row)` for every row, panels shared by the threads.
    fn each(&self, pool: &Pool, place: impl Fn(usize, usize, &Row) + Sync) {
        let rows = self.count();
        pool.split(rows.div_ceil(PANEL), 1, |panels| {
            let mut row = self.row();
            for panel in panels {
                for lane in 0..PANEL.min(rows - panel * PANEL) {
                    self.read(panel * PANEL + lane, &mut row);
                    place(panel, lane, &row);
                }
            }
        });
    }
}

impl Panels8 {
    /// Packs rows of [`Scheme::Int8`].
    pub(super) fn pack(by: Packing<'_>, rows: &QuantizedRows<'_>) -> Result<Self> {
        Self::fill(by, rows, |place| {
            rows.each(by.pool, |panel, lane, row| place(panel, lane, &row.integers, row.scale()))
        })
    }

    /// Packs rows of floats after `round`; `seen(row, values, integers, scale)` is told of each.
    pub(super) fn pack_rounded(
        by: Packing<'_>,
        rows: &QuantizedRows<'_>,
        round: &(impl Fn(f32) -> f32 + Sync),
        seen: impl Fn(usize, &[f32], &[u8], f32) + Sync,
    ) -> Result<Self> {
        Self::fill(by, rows, |place| {
            let count = rows.count();
            by.pool.split(count.div_ceil(PANEL), 1, |panels| {
                let mut row = rows.row();
                for index in panels.start * PANEL..count.min(panels.end * PANEL) {
                    rows.parts.read_row(index, &mut row.values);
                    row.values.iter_mut().for_each(|value| *value = round(*value));
                    quantize_row(Scheme::Int8, &row.values, &mut row.integers, &mut row.scales);
                    seen(index, &row.values, &row.integers, row.scale());
                    // A row that is not finite is bounded by infinity; its estimate must still be a number.
                    let scale = if row.scale().is_nan() { 0.0 } else { row.scale() };
                    place(index / PANEL, index % PANEL, &row.integers, scale);
                }
            });
        })
    }

    fn fill(
        by: Packing<'_>,
        rows: &QuantizedRows<'_>,
        each: impl FnOnce(&(dyn Fn(usize, usize, &[u8], f32) + Sync)),
    ) -> Result<Self> {
        let (panels, units) = (rows.count().div_ceil(PANEL), rows.cols().div_ceil(4));
        let mut words = by.zeroed(panels * units * PANEL, "int8 weights")?;
        let mut scales = by.zeroed(panels * PANEL, "scales of int8 weights")?;
        let (words_out, scales_out) = (SharedMut::new(&mut words), SharedMut::new(&mut scales));
        each(&|panel, lane, integers, scale| {
            // SAFETY: one thread has all rows of a panel.
            let (words, scales) = unsafe {
                let words = words_out.slice(panel * units * PANEL..(panel + 1) * units * PANEL);
                (words, scales_out.slice(panel * PANEL..(panel + 1) * PANEL))
            };
            scales[lane] = scale;
            for (unit, quad) in integers.chunks(4).enumerate() {
                let byte = |k: usize| quad.get(k).map_or(0, |q| q ^ 0x80);
                words[unit * PANEL + lane] = u32::from_le_bytes([byte(0), byte(1), byte(2), byte(3)]);
            }
        });
        Ok(Self { words, scales })
    }

    /// Bytes in memory.
    pub fn bytes(&self) -> usize {
        (self.words.len() + self.scales.len()) * 4
    }
}

impl Panels4 {
    /// Packs rows of [`Scheme::Int4`].
    pub(super) fn pack(by: Packing<'_>, rows: &QuantizedRows<'_>) -> Result<Self> {
        let (panels, groups) = (rows.count().div_ceil(PANEL), rows.cols().div_ceil(GROUP));
        let panel_words = groups * GROUP_WORDS * PANEL;
        let mut words = by.zeroed(panels * panel_words, "int4 weights")?;
        let mut scales = by.zeroed(panels * groups * PANEL, "scales of int4 weights")?;
        let (words_out, scales_out) = (SharedMut::new(&mut words), SharedMut::new(&mut scales));
        rows.each(by.pool, |panel, lane, row| {
            // SAFETY: one thread has all rows of a panel.
            let (words, scales) = unsafe {
                let words = words_out.slice(panel * panel_words..(panel + 1) * panel_words);
                (words, scales_out.slice(panel * groups * PANEL..(panel + 1) * groups * PANEL))
            };
            for (group, scale) in row.scales.as_chunks::<2>().0.iter().enumerate() {
                scales[group * PANEL + lane] = u16::from_le_bytes(*scale);
                for word in 0..GROUP_WORDS {
                    let stored = |k: usize| {
                        let k = group * GROUP + k;
                        if k < rows.cols() { (nibble(&row.integers, k) + ZERO_4 as i8).cast_unsigned() } else { 0 }
                    };
                    let bytes = [0, 1, 2, 3].map(|b| stored(4 * word + b) | stored(16 + 4 * word + b) << 4);
                    words[(group * GROUP_WORDS + word) * PANEL + lane] = u32::from_le_bytes(bytes);
                }
            }
        });
        Ok(Self { words, scales })
    }
}
