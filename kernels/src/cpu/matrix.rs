//! Weights in the layout that the products stream.
//!
//! Packed at load. A panel is [`PANEL`] output columns; inside it the input dimension runs
//! slowest, so a product reads memory in one straight line and each column keeps one accumulator lane:
//! `[panel][k][column]` for float32, `[panel][k / 2][column][2]` for bfloat16 (pairs, as `vdpbf16ps` takes them).

use super::buffer::{Buffer, Plain};
use super::panel::PANEL;
use super::parts::{Parts, RowOrder};
use super::pool::{Pool, RowsMut};
use super::quantized::{Panels4, Panels8, QuantizedRows};
use super::screen::Screen;
use super::weight_memory::Packing;
use crate::error::{Error, Result};
use crate::math;
use crate::quantize::{MOST_INPUTS, Scheme};
use crate::weights::{MatrixUse, WeightFormat, WeightPart};

/// A weight `[rows, cols]`: `rows` output features of `cols` inputs.
pub struct Matrix {
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    pub(crate) order: RowOrder,
    pub(crate) data: Data,
    /// Screening copy of a table for [`MatrixUse::Output`].
    pub(crate) screen: Option<Screen>,
}

/// Number type and layout of a matrix.
pub(crate) enum Data {
    /// Panels of float32.
    PanelF32(Buffer<f32>),
    /// Panels of bfloat16 pairs: low half the even input, high half the odd one.
    PanelBf16(Buffer<u32>),
    /// Panels of 8-bit integers.
    PanelInt8(Panels8),
    /// Panels of 4-bit integers.
    PanelInt4(Panels4),
    /// Plain rows of float32.
    RowsF32(Buffer<f32>),
    /// Plain rows of bfloat16.
    RowsBf16(Buffer<u16>),
}

impl Matrix {
    /// Packs parts, one below the other.
    pub(crate) fn pack(
        by: Packing<'_>,
        parts: &[WeightPart<'_>],
        format: WeightFormat,
        usage: MatrixUse,
    ) -> Result<Self> {
        let cols = parts.first().map_or(0, |part| part.shape().1);
        for part in parts {
            part.check()?;
            if part.shape().1 != cols {
                return Err(Error::PartWidth { first: cols, other: part.shape().1 });
            }
        }
        let integers = usage == MatrixUse::Output || matches!(format, WeightFormat::Quantized(_));
        if integers && cols > MOST_INPUTS {
            return Err(Error::TooWide { cols, limit: MOST_INPUTS });
        }
        let parts = Parts::new(parts, usage);
        let data = match (usage, format) {
            (MatrixUse::Lookup, _) => pack_lookup(by, parts, format)?,
            (_, WeightFormat::F32 | WeightFormat::Bf16) => pack_floats(by, parts, format)?,
            (_, WeightFormat::Quantized(scheme)) => {
                let rows = QuantizedRows { parts, scheme };
                match scheme {
                    Scheme::Int8 => Data::PanelInt8(Panels8::pack(by, &rows)?),
                    Scheme::Int4 => Data::PanelInt4(Panels4::pack(by, &rows)?),
                }
            }
        };
        let screen = match (usage, format) {
            (MatrixUse::Output, WeightFormat::F32) => Some(Screen::pack(by, parts, |value| value)?),
            (MatrixUse::Output, WeightFormat::Bf16) => Some(Screen::pack(by, parts, math::round_bf16)?),
            _ => None,
        };
        Ok(Self { rows: parts.rows(), cols, order: parts.order(), data, screen })
    }

    /// Panels of a packed matrix.
    pub(crate) fn panels(&self) -> usize {
        self.rows.div_ceil(PANEL)
    }

    /// Writes row `index` times `scale` to `out`, `cols` numbers.
    pub(crate) fn read_row(&self, index: usize, scale: f32, out: &mut [f32]) {
        let (panel, lane) = (index / PANEL, index % PANEL);
        match &self.data {
            Data::PanelF32(data) => {
                let panel = &data[panel * self.cols * PANEL..];
                out.iter_mut().enumerate().for_each(|(k, out)| *out = panel[k * PANEL + lane] * scale);
            }
            Data::PanelBf16(data) => {
                let panel = &data[panel * self.cols.div_ceil(2) * PANEL..];
                for (pair, out) in out.chunks_mut(2).enumerate() {
                    let bits = panel[pair * PANEL + lane];
                    out[0] = f32::from_bits(bits << 16) * scale;
                    if let Some(odd) = out.get_mut(1) {
                        *odd = f32::from_bits(bits & 0xffff_0000) * scale;
                    }
                }
            }
            Data::PanelInt8(_) | Data::PanelInt4(_) => unreachable!("lookup tables are not quantised"),
            Data::RowsF32(data) => {
                let row = &data[index * self.cols..][..self.cols];
                out.iter_mut().zip(row).for_each(|(out, &value)| *out = value * scale);
            }
            Data::RowsBf16(data) => {
                let row = &data[index * self.cols..][..self.cols];
                out.iter_mut().zip(row).for_each(|(out, &value)| *out = math::bf16_value(value) * scale);
            }
        }
    }
}

impl Data {
    /// Bytes in memory.
    pub fn bytes(&self) -> usize {
        match self {
            Self::PanelF32(data) | Self::RowsF32(data) => data.len() * 4,
            Self::PanelBf16(data) => data.len() * 4,
            Self::PanelInt8(panels) => panels.bytes(),
            Self::PanelInt4(panels) => panels.words.len() * 4 + panels.scales.len() * 2,
            Self::RowsBf16(data) => data.len() * 2,
        }
    }
}

/// Panels for products.
fn pack_floats(by: Packing<'_>, parts: Parts<'_>, format: WeightFormat) -> Result<Data> {
    let (panels, cols) = (parts.rows().div_ceil(PANEL), parts.cols());
    if format == WeightFormat::F32 {
        let mut buffer = by.zeroed(panels * cols * PANEL, "packed float32 weights")?;
        pack_panels(by.pool, parts, &mut buffer, cols * PANEL, |panel, lane, row| {
            for (k, &value) in row.iter().enumerate() {
                panel[k * PANEL + lane] = value;
            }
        });
        return Ok(Data::PanelF32(buffer));
    }
    let pairs = cols.div_ceil(2);
    let mut buffer = by.zeroed(panels * pairs * PANEL, "packed bfloat16 weights")?;
    pack_panels(by.pool, parts, &mut buffer, pairs * PANEL, |panel, lane, row| {
        for (pair, values) in row.chunks(2).enumerate() {
            let odd = values.get(1).map_or(0, |&value| math::bf16_bits(value));
            panel[pair * PANEL + lane] = u32::from(odd) << 16 | u32::from(math::bf16_bits(values[0]));
        }
    });
    Ok(Data::PanelBf16(buffer))
}

/// Rows for lookups. A table of bfloat16 numbers stays one in float32 mode: lookups widen it exactly.
fn pack_lookup(by: Packing<'_>, parts: Parts<'_>, format: WeightFormat) -> Result<Data> {
    let numbers = parts.rows() * parts.cols();
    if format == WeightFormat::F32 && !parts.are_bf16() {
        let mut buffer = by.zeroed(numbers, "a float32 table")?;
        copy_rows(by.pool, parts, &mut buffer, |value| value);
        return Ok(Data::RowsF32(buffer));
    }
    let mut buffer = by.zeroed(numbers, "a bfloat16 table")?;
    copy_rows(by.pool, parts, &mut buffer, math::bf16_bits);
    Ok(Data::RowsBf16(buffer))
}

/// Fills panels in parallel; `place(panel, lane, row)` scatters one row into its panel.
fn pack_panels<T: Plain>(
    pool: &Pool,
    parts: Parts<'_>,
    buffer: &mut [T],
    panel_len: usize,
    place: impl Fn(&mut [T], usize, &[f32]) + Sync,
) {
    let rows = parts.rows();
    pool.split_rows(RowsMut { data: buffer, width: panel_len }, rows.div_ceil(PANEL), 1, |panels, data| {
        let mut row = vec![0.0; parts.cols()];
        for (panel, data) in panels.zip(data.chunks_mut(panel_len.max(1))) {
            for lane in 0..PANEL.min(rows - panel * PANEL) {
                parts.read_row(panel * PANEL + lane, &mut row);
                place(data, lane, &row);
            }
        }
    });
}

fn copy_rows<T: Plain>(pool: &Pool, parts: Parts<'_>, buffer: &mut [T], convert: impl Fn(f32) -> T + Sync) {
    let cols = parts.cols();
    pool.split_rows(RowsMut { data: buffer, width: cols }, parts.rows(), 1, |rows, data| {
        let mut row = vec![0.0; cols];
        for (index, data) in rows.zip(data.chunks_mut(cols.max(1))) {
            parts.read_row(index, &mut row);
            data.iter_mut().zip(&row).for_each(|(out, &value)| *out = convert(value));
        }
    });
}
