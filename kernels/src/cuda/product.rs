//! Matrices on a device, and the products with them.
//!
//! Called by the backend in `cuda`. `product.cu` has the kernels for up to [`FEW_ROWS`] rows; more go to the device's library.

use super::Cuda;
use super::device::{Device, LargeProduct, Memory};
use super::rows::{Activations, Number, PITCH, write_row};
use crate::backend::{Error, LinearRows, Result};
use crate::weights::{WeightFormat, WeightPart};

/// Most rows that the kernels of `product.cu` take.
pub(super) const FEW_ROWS: usize = 16;
const THREADS: u32 = 256;
/// Matrix rows of a block.
const TILE: usize = 16;
/// Bytes of a matrix that are made on the host before they are copied.
const COPY_BYTES: usize = 8 << 20;

/// A weight, `[rows, cols]` of bfloat16, rows `pitch` numbers apart.
pub struct Matrix<D: Device> {
    memory: Memory<D>,
    pub(super) rows: usize,
    pub(super) cols: usize,
    pub(super) pitch: usize,
}

#[derive(Clone, Copy)]
#[repr(C)]
struct Product {
    x: u64,
    matrix: u64,
    out: u64,
    rows: u32,
    outputs: u32,
    depth: u32,
    x_pitch: u32,
    matrix_pitch: u32,
    out_pitch: u32,
    wide: u32,
    cap: f32,
}

#[derive(Clone, Copy)]
#[repr(C)]
struct Softcap {
    values: u64,
    pitch: u32,
    width: u32,
    cap: f32,
    unused: u32,
}

#[derive(Clone, Copy)]
#[repr(C)]
struct RandomRows {
    out: u64,
    seed: u64,
    width: u32,
    pitch: u32,
    scale: f32,
    unused: u32,
}

impl<D: Device> Matrix<D> {
    pub(super) fn bytes(&self) -> usize {
        self.memory.bytes()
    }

    pub(super) fn address(&self) -> u64 {
        self.memory.address()
    }
}

impl<D: Device> Cuda<D> {
    pub(super) fn pack(&self, parts: &[WeightPart<'_>], format: WeightFormat) -> Result<Matrix<D>> {
        if format != WeightFormat::Bf16 {
            return Err(Error::Unavailable { wanted: format!("{format:?} weights"), available: "Bf16".into() });
        }
        let cols = parts.first().map_or(0, |part| part.shape().1);
        for part in parts {
            part.check()?;
            if part.shape().1 != cols {
                return Err(Error::PartWidth { first: cols, other: part.shape().1 });
            }
        }
        let (rows, pitch) = (parts.iter().map(|part| part.shape().0).sum(), cols.next_multiple_of(PITCH));
        let memory = Memory::new(self.device(), rows * pitch * Number::Bf16.bytes(), "weights")?;
        let matrix = Matrix { memory, rows, cols, pitch };
        let mut first = 0;
        for part in parts {
            self.fill(&matrix, first, part);
            first += part.shape().0;
        }
        Ok(matrix)
    }

    /// Writes a part from row `first` on.
    fn fill(&self, matrix: &Matrix<D>, first: usize, part: &WeightPart<'_>) {
        let (rows, cols) = part.shape();
        let row_bytes = matrix.pitch * Number::Bf16.bytes();
        let at = matrix.memory.at(first * row_bytes, rows * row_bytes);
        if let WeightPart::Random { seed, deviation, .. } = *part {
            let scale = WeightPart::random_scale(deviation);
            let (width, pitch) = (cols as u32, matrix.pitch as u32);
            let params = RandomRows { out: at, seed, width, pitch, scale, unused: 0 };
            return self.launch("random_rows", [rows as u32, 1, 1], (THREADS, 0), &params);
        }
        let at_once = (COPY_BYTES / row_bytes).clamp(1, rows.max(1));
        let (mut bytes, mut values) = (vec![0; at_once * row_bytes], vec![0.0; cols]);
        for start in (0..rows).step_by(at_once) {
            let count = at_once.min(rows - start);
            for (row, out) in (start..start + count).zip(bytes.chunks_exact_mut(row_bytes)) {
                part.read_row(row, &mut values);
                write_row(&values, Number::Bf16, out);
            }
            self.device().write(&bytes[..count * row_bytes], at + (start * row_bytes) as u64);
        }
    }

    pub(super) fn product(
        &self,
        x: &Activations<D>,
        matrix: &Matrix<D>,
        (rows, cap): (LinearRows, Option<f32>),
        out: &mut Activations<D>,
    ) {
        assert!(x.width == matrix.cols && out.width == matrix.rows, "the rows are as wide as the matrix");
        let LinearRows { from, to, count } = rows;
        let (x_at, out_at) = (x.rows(from, count, Number::Bf16), out.rows(to, count, out.number));
        let wide = out.number == Number::F32;
        if count > FEW_ROWS {
            self.device().product(&LargeProduct {
                x: x_at,
                matrix: matrix.address(),
                out: out_at,
                rows: count,
                outputs: matrix.rows,
                depth: matrix.cols,
                x_pitch: x.pitch,
                matrix_pitch: matrix.pitch,
                out_pitch: out.pitch,
                wide,
            });
            if let Some(cap) = cap {
                let params =
                    Softcap { values: out_at, pitch: out.pitch as u32, width: out.width as u32, cap, unused: 0 };
                let blocks = out.width.div_ceil(THREADS as usize) as u32;
                self.launch("softcap_rows", [count as u32, blocks, 1], (THREADS, 0), &params);
            }
            return;
        }
        let params = Product {
            x: x_at,
            matrix: matrix.address(),
            out: out_at,
            rows: count as u32,
            outputs: matrix.rows as u32,
            depth: matrix.pitch as u32,
            x_pitch: x.pitch as u32,
            matrix_pitch: matrix.pitch as u32,
            out_pitch: out.pitch as u32,
            wide: u32::from(wide),
            cap: cap.unwrap_or(0.0),
        };
        let (kernel, columns) = if count <= 8 { ("product_8", 8) } else { ("product_16", 16) };
        let shared = (THREADS as usize / 32) * TILE * columns * 4;
        self.launch(kernel, [matrix.rows.div_ceil(TILE) as u32, 1, 1], (THREADS, shared), &params);
    }
}
