//! Weights on a device.
//!
//! Made at load by the backend in `cuda`, read by `product` and `rows`. `rows.cu` makes random weights, `product.cu`
//! widens int8.

use std::ops::Range;

use bytemuck::NoUninit;

use super::backend::Cuda;
use super::device::{Blocks, Device, NO_ADDRESS};
use super::memory::Memory;
use super::number::{Number, PITCH};
use crate::backend::{Error, Result};
use crate::quantize::Scheme;
use crate::weights::{QuantizedRowMut, WeightFormat, WeightPart};

const THREADS: u32 = 256;
/// Bytes of shared memory of `random_int8_rows`: a number for each warp.
const RANDOM_ROOM: usize = THREADS as usize / 32 * 4;
/// Bytes of a matrix that the host makes before it copies them.
const COPY_BYTES: usize = 8 << 20;

/// A weight `[rows, cols]` of bfloat16, or of int8 with a scale for each row. Rows are `pitch` numbers apart.
pub struct Matrix<D: Device> {
    memory: Memory<D>,
    /// Scales of int8 rows, `[rows]`.
    scales: Option<Memory<D>>,
    pub(super) rows: usize,
    pub(super) cols: usize,
    pub(super) pitch: usize,
}

#[derive(Clone, Copy, NoUninit)]
#[repr(C)]
struct RandomRows {
    out: u64,
    seed: u64,
    width: u32,
    pitch: u32,
    scale: f32,
    unused: u32,
}

#[derive(Clone, Copy, NoUninit)]
#[repr(C)]
struct RandomInt8 {
    numbers: RandomRows,
    out: u64,
    scales: u64,
}

#[derive(Clone, Copy, NoUninit)]
#[repr(C)]
struct Dequantize {
    matrix: u64,
    scales: u64,
    out: u64,
    pitch: u32,
    unused: u32,
}

/// Successive rows of a matrix: outputs of a product.
pub(super) struct MatrixRows<'a, D: Device> {
    matrix: &'a Matrix<D>,
    first: usize,
    count: usize,
}

impl<D: Device> Matrix<D> {
    /// Bytes of all numbers and scales.
    pub(super) fn bytes(&self) -> usize {
        self.memory.bytes() + self.scales.as_ref().map_or(0, Memory::bytes)
    }

    /// All rows.
    pub(super) const fn all(&self) -> MatrixRows<'_, D> {
        MatrixRows { matrix: self, first: 0, count: self.rows }
    }

    /// Some rows.
    pub(super) fn rows(&self, rows: Range<usize>) -> MatrixRows<'_, D> {
        assert!(rows.end <= self.rows, "rows up to {} are wanted of {}", rows.end, self.rows);
        MatrixRows { matrix: self, first: rows.start, count: rows.len() }
    }

    /// Address of the first row.
    pub(super) const fn address(&self) -> u64 {
        self.memory.address()
    }

    /// Bytes from one row to the next.
    const fn row_bytes(&self) -> usize {
        self.pitch * if self.scales.is_some() { 1 } else { Number::Bf16.bytes() }
    }
}

impl<D: Device> MatrixRows<'_, D> {
    /// Rows.
    pub(super) const fn count(&self) -> usize {
        self.count
    }

    /// Numbers of a row.
    pub(super) const fn cols(&self) -> usize {
        self.matrix.cols
    }

    /// Numbers from one row to the next.
    pub(super) const fn pitch(&self) -> usize {
        self.matrix.pitch
    }

    /// Address of the first row.
    pub(super) fn address(&self) -> u64 {
        let row_bytes = self.matrix.row_bytes();
        self.matrix.memory.at(self.first * row_bytes, self.count * row_bytes)
    }

    /// Address of the scales, or [`NO_ADDRESS`] where the matrix is bfloat16.
    pub(super) fn scales(&self) -> u64 {
        self.matrix.scales.as_ref().map_or(NO_ADDRESS, |scales| scales.at(4 * self.first, 4 * self.count))
    }

    /// Bytes of the numbers and scales.
    pub(super) fn bytes(&self) -> usize {
        self.count * (self.matrix.row_bytes() + if self.matrix.scales.is_some() { 4 } else { 0 })
    }

    /// Bytes of the same numbers in bfloat16.
    pub(super) const fn wide_bytes(&self) -> usize {
        self.count * self.matrix.pitch * Number::Bf16.bytes()
    }
}

impl<D: Device> Cuda<D> {
    /// Packs parts, one below the other, into one matrix.
    pub(super) fn pack(&self, parts: &[WeightPart<'_>], format: WeightFormat) -> Result<Matrix<D>> {
        let number_bytes = match format {
            WeightFormat::Bf16 => Number::Bf16.bytes(),
            WeightFormat::Quantized(Scheme::Int8) => 1,
            WeightFormat::F32 | WeightFormat::Quantized(Scheme::Int4) => {
                let available = "Bf16, Int8".into();
                return Err(Error::Unavailable { wanted: format!("{format:?} weights on a GPU"), available });
            }
        };
        let cols = parts.first().map_or(0, |part| part.shape().1);
        for part in parts {
            part.check()?;
            if part.shape().1 != cols {
                return Err(Error::PartWidth { first: cols, other: part.shape().1 });
            }
        }
        let (rows, pitch) = (parts.iter().map(|part| part.shape().0).sum(), cols.next_multiple_of(PITCH));
        let memory = Memory::new(&self.heap, rows * pitch * number_bytes, "weights")?;
        let has_scales = format != WeightFormat::Bf16;
        let scales = has_scales.then(|| Memory::new(&self.heap, 4 * rows, "scales of weights")).transpose()?;
        let matrix = Matrix { memory, scales, rows, cols, pitch };
        let mut first = 0;
        for part in parts {
            match &matrix.scales {
                None => self.fill(&matrix, first, part),
                Some(scales) => self.fill_int8(&matrix, scales, first, part),
            }
            first += part.shape().0;
        }
        Ok(matrix)
    }

    /// Writes a part in bfloat16 from row `first` on.
    fn fill(&self, matrix: &Matrix<D>, first: usize, part: &WeightPart<'_>) {
        let (rows, cols) = part.shape();
        let row_bytes = matrix.pitch * Number::Bf16.bytes();
        let at = matrix.memory.at(first * row_bytes, rows * row_bytes);
        if let WeightPart::Random { seed, deviation, .. } = *part {
            let scale = WeightPart::random_scale(deviation);
            let (width, pitch) = (cols as u32, matrix.pitch as u32);
            let params = RandomRows { out: at, seed, width, pitch, scale, unused: 0 };
            return self.queue().launch("random_rows", Blocks::per_row(rows, THREADS), &params);
        }
        let at_once = (COPY_BYTES / row_bytes).clamp(1, rows.max(1));
        let (mut bytes, mut values) = (vec![0; at_once * row_bytes], vec![0.0; cols]);
        for start in (0..rows).step_by(at_once) {
            let count = at_once.min(rows - start);
            for (row, out) in (start..start + count).zip(bytes.chunks_exact_mut(row_bytes)) {
                part.read_row(row, &mut values);
                Number::Bf16.write(&values, out);
            }
            self.queue().write(&bytes[..count * row_bytes], &matrix.memory, (first + start) * row_bytes);
        }
    }

    /// Writes a part's int8 numbers and scales from row `first` on.
    fn fill_int8(&self, matrix: &Matrix<D>, scales: &Memory<D>, first: usize, part: &WeightPart<'_>) {
        let ((rows, cols), pitch) = (part.shape(), matrix.pitch);
        if let WeightPart::Random { seed, deviation, .. } = *part {
            let scale = WeightPart::random_scale(deviation);
            let (width, row_pitch) = (cols as u32, pitch as u32);
            let numbers = RandomRows { out: NO_ADDRESS, seed, width, pitch: row_pitch, scale, unused: 0 };
            let (out, scales) = (matrix.memory.at(first * pitch, rows * pitch), scales.at(4 * first, 4 * rows));
            let blocks = Blocks::per_row(rows, THREADS).with_shared(RANDOM_ROOM);
            return self.queue().launch("random_int8_rows", blocks, &RandomInt8 { numbers, out, scales });
        }
        let at_once = (COPY_BYTES / pitch).clamp(1, rows.max(1));
        let (mut bytes, mut row_scales) = (vec![0; at_once * pitch], vec![0; at_once * 4]);
        let mut values = vec![0.0; cols];
        for start in (0..rows).step_by(at_once) {
            let count = at_once.min(rows - start);
            let targets = bytes.chunks_exact_mut(pitch).zip(row_scales.chunks_exact_mut(4));
            for (row, (integers, scale)) in (start..start + count).zip(targets) {
                let out = QuantizedRowMut { integers: &mut integers[..cols], scales: scale };
                part.quantized_row(row, Scheme::Int8, &mut values, out);
            }
            self.queue().write(&bytes[..count * pitch], &matrix.memory, (first + start) * pitch);
            self.queue().write(&row_scales[..count * 4], scales, 4 * (first + start));
        }
    }

    /// Address of the rows in bfloat16: the matrix itself, or a copy that lasts until the next one.
    pub(super) fn widened(&self, rows: &MatrixRows<'_, D>) -> u64 {
        if rows.matrix.scales.is_none() {
            return rows.address();
        }
        let out = self.queue().widened(rows.wide_bytes());
        let (matrix, scales, pitch) = (rows.address(), rows.scales(), rows.pitch() as u32);
        let params = Dequantize { matrix, scales, out, pitch, unused: 0 };
        self.queue().launch("dequantize_rows", Blocks::per_row(rows.count, THREADS), &params);
        self.queue().moves(rows.bytes() + rows.wide_bytes());
        out
    }
}
