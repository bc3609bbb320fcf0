//! Matrices on a device, and the products with them.
//!
//! Called by the backend in `cuda`. `product.cu` has the kernels for up to [`FEW_ROWS`] rows; more go to the device's library.

use bytemuck::NoUninit;

use super::Cuda;
use super::device::{Device, LargeProduct, Work};
use super::locked;
use super::memory::Memory;
use super::rows::{Activations, Number, PITCH, write_row};
use crate::backend::{Error, LinearRows, Result};
use crate::quantize::Scheme;
use crate::weights::{WeightFormat, WeightPart};

/// Most rows that the kernels of `product.cu` take.
pub(super) const FEW_ROWS: usize = 64;
const THREADS: u32 = 256;
/// Matrix rows that are multiplied at once.
pub(super) const TILE: usize = 16;
/// An address that is none.
pub(super) const NONE: u64 = 0;
/// Bytes of a matrix that are made on the host before they are copied.
const COPY_BYTES: usize = 8 << 20;

/// A weight, `[rows, cols]` of bfloat16 or of bytes with a scale for each row, rows `pitch` numbers apart.
pub struct Matrix<D: Device> {
    memory: Memory<D>,
    /// Of bytes.
    scales: Option<Memory<D>>,
    pub(super) rows: usize,
    pub(super) cols: usize,
    pub(super) pitch: usize,
}

#[derive(Clone, Copy, NoUninit)]
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
    scales: u64,
    best: u64,
}

#[derive(Clone, Copy, NoUninit)]
#[repr(C)]
struct Softcap {
    values: u64,
    best: u64,
    pitch: u32,
    width: u32,
    cap: f32,
    unused: u32,
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

/// A kernel of `product.cu`.
struct ProductKernel {
    /// Rows of a block.
    columns: usize,
    /// [`TILE`]s of a block.
    tiles: usize,
    /// For matrices of bfloat16 and of bytes, plain and gated.
    names: [[&'static str; 2]; 2],
}

/// What becomes of the sums; index of [`ProductKernel::names`].
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Plain,
    Gated,
}

/// Products that one kernel is the fastest for: all that differs in them is addresses.
#[derive(PartialEq, Eq, Hash)]
pub(super) struct ProductShape {
    kind: Kind,
    columns: usize,
    blocks_of_rows: usize,
    outputs: u32,
    depth: u32,
    has_scales: bool,
}

macro_rules! product_kernel {
    ($columns:literal, $tiles:literal) => {
        ProductKernel {
            columns: $columns,
            tiles: $tiles,
            names: [
                [concat!("product_", $columns, "x", $tiles), concat!("product_", $columns, "x", $tiles, "_int8")],
                [concat!("gated_", $columns, "x", $tiles), concat!("gated_", $columns, "x", $tiles, "_int8")],
            ],
        }
    };
}

/// By the rows they take; those that take as many give the same bits.
const KERNELS: [ProductKernel; 9] = [
    product_kernel!(8, 1),
    product_kernel!(8, 2),
    product_kernel!(16, 1),
    product_kernel!(16, 2),
    product_kernel!(32, 1),
    product_kernel!(32, 2),
    product_kernel!(32, 4),
    product_kernel!(64, 1),
    product_kernel!(64, 2),
];

/// Bytes of shared memory of `random_int8_rows`.
const RANDOM_ROOM: usize = THREADS as usize / 32 * 4;

impl<D: Device> Matrix<D> {
    pub(super) fn bytes(&self) -> usize {
        self.memory.bytes() + self.scales.as_ref().map_or(0, Memory::bytes)
    }

    fn scales(&self) -> u64 {
        self.scales.as_ref().map_or(NONE, Memory::address)
    }

    /// Of the same numbers in bfloat16.
    const fn wide_bytes(&self) -> usize {
        self.rows * self.pitch * Number::Bf16.bytes()
    }

    pub(super) fn address(&self) -> u64 {
        self.memory.address()
    }
}

impl<D: Device> Cuda<D> {
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
                Some(scales) => self.fill_bytes((&matrix, scales), first, part),
            }
            first += part.shape().0;
        }
        Ok(matrix)
    }

    /// Writes a part's bytes and scales from row `first` on.
    fn fill_bytes(&self, (matrix, scales): (&Matrix<D>, &Memory<D>), first: usize, part: &WeightPart<'_>) {
        let ((rows, cols), pitch) = (part.shape(), matrix.pitch);
        if let WeightPart::Random { seed, deviation, .. } = *part {
            let scale = WeightPart::random_scale(deviation);
            let numbers = RandomRows { out: NONE, seed, width: cols as u32, pitch: pitch as u32, scale, unused: 0 };
            let (out, scales) = (matrix.memory.at(first * pitch, rows * pitch), scales.at(4 * first, 4 * rows));
            let params = RandomInt8 { numbers, out, scales };
            return self.queue().launch("random_int8_rows", [rows as u32, 1, 1], (THREADS, RANDOM_ROOM), &params);
        }
        let at_once = (COPY_BYTES / pitch).clamp(1, rows.max(1));
        let (mut bytes, mut row_scales) = (vec![0; at_once * pitch], vec![0; at_once * 4]);
        let mut values = vec![0.0; cols];
        for start in (0..rows).step_by(at_once) {
            let count = at_once.min(rows - start);
            let targets = bytes.chunks_exact_mut(pitch).zip(row_scales.chunks_exact_mut(4));
            for (row, (integers, scale)) in (start..start + count).zip(targets) {
                part.quantized_row(row, Scheme::Int8, &mut values, (&mut integers[..cols], scale));
            }
            self.queue().write(&bytes[..count * pitch], &matrix.memory, (first + start) * pitch);
            self.queue().write(&row_scales[..count * 4], scales, 4 * (first + start));
        }
    }

    /// Where the matrix is in bfloat16: itself, or a copy that lasts until the next one.
    fn widened(&self, matrix: &Matrix<D>) -> u64 {
        if matrix.scales.is_none() {
            return matrix.address();
        }
        let out = self.queue().widened(matrix.wide_bytes());
        let params = Dequantize {
            matrix: matrix.address(),
            scales: matrix.scales(),
            out,
            pitch: matrix.pitch as u32,
            unused: 0,
        };
        self.queue().launch("dequantize_rows", [matrix.rows as u32, 1, 1], (THREADS, 0), &params);
        self.queue().moves(matrix.bytes() + matrix.wide_bytes());
        out
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
            return self.queue().launch("random_rows", [rows as u32, 1, 1], (THREADS, 0), &params);
        }
        let at_once = (COPY_BYTES / row_bytes).clamp(1, rows.max(1));
        let (mut bytes, mut values) = (vec![0; at_once * row_bytes], vec![0.0; cols]);
        for start in (0..rows).step_by(at_once) {
            let count = at_once.min(rows - start);
            for (row, out) in (start..start + count).zip(bytes.chunks_exact_mut(row_bytes)) {
                part.read_row(row, &mut values);
                write_row(&values, Number::Bf16, out);
            }
            self.queue().write(&bytes[..count * row_bytes], &matrix.memory, (first + start) * row_bytes);
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
        let best = if wide { out.best(&self.heap, to, count) } else { NONE };
        if count > FEW_ROWS && !self.deterministic {
            self.queue().submit(Work::Product(LargeProduct {
                x: x_at,
                matrix: self.widened(matrix),
                out: out_at,
                rows: count,
                outputs: matrix.rows,
                depth: matrix.cols,
                x_pitch: x.pitch,
                matrix_pitch: matrix.pitch,
                out_pitch: out.pitch,
                wide,
            }));
            self.queue().moves(x.bytes(count) + matrix.wide_bytes() + out.bytes(count));
            if wide {
                let (pitch, width) = (out.pitch as u32, out.width as u32);
                let params = Softcap { values: out_at, best, pitch, width, cap: cap.unwrap_or(0.0), unused: 0 };
                let blocks = out.width.div_ceil(THREADS as usize) as u32;
                self.queue().launch("softcap_rows", [count as u32, blocks, 1], (THREADS, 0), &params);
                self.queue().moves(2 * out.bytes(count) + out.best_bytes(count));
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
            scales: matrix.scales(),
            best,
        };
        self.few_rows(matrix, &params, Kind::Plain);
        self.queue().moves(x.bytes(count) + matrix.bytes() + out.bytes(count) + out.best_bytes(count));
    }

    /// `out[i] = gelu_tanh(gate) * up` of `[gate | up] = x[from + i] . matrix^T`.
    pub(super) fn gated_product(
        &self,
        x: &Activations<D>,
        matrix: &Matrix<D>,
        rows: LinearRows,
        (gate_up, out): (&mut Activations<D>, &mut Activations<D>),
    ) {
        let LinearRows { from, to, count } = rows;
        if count > FEW_ROWS && !self.deterministic {
            self.product(x, matrix, (LinearRows { from, to: 0, count }, None), gate_up);
            return self.geglu_rows(gate_up, count, out);
        }
        let width = out.width;
        assert!(x.width == matrix.cols && matrix.rows == 2 * width, "the rows are as wide as the matrix");
        assert!(to == 0 && width.is_multiple_of(8), "gate and up are multiples of 8 wide");
        let params = Product {
            x: x.rows(from, count, Number::Bf16),
            matrix: matrix.address(),
            out: out.rows(0, count, Number::Bf16),
            rows: count as u32,
            outputs: width as u32,
            depth: matrix.pitch as u32,
            x_pitch: x.pitch as u32,
            matrix_pitch: matrix.pitch as u32,
            out_pitch: out.pitch as u32,
            wide: 0,
            cap: 0.0,
            scales: matrix.scales(),
            best: NONE,
        };
        self.few_rows(matrix, &params, Kind::Gated);
    }

    fn few_rows(&self, matrix: &Matrix<D>, params: &Product, kind: Kind) {
        let count = params.rows as usize;
        let columns = KERNELS.iter().map(|kernel| kernel.columns).find(|columns| count <= *columns).unwrap_or(FEW_ROWS);
        let blocks_of_rows = count.div_ceil(columns);
        let has_scales = matrix.scales.is_some();
        let Product { outputs, depth, .. } = *params;
        let shape = ProductShape { kind, columns, blocks_of_rows, outputs, depth, has_scales };
        let written = match kind {
            Kind::Plain => TILE,
            Kind::Gated => TILE / 2,
        };
        let launch = |kernel: &ProductKernel| {
            let name = kernel.names[kind as usize][usize::from(has_scales)];
            // As `PITCH` of `product.cu` has it.
            let pitch = columns | 9;
            let shared = (THREADS as usize / 32) * kernel.tiles * TILE * pitch * 4;
            let grid = [outputs.div_ceil((kernel.tiles * written) as u32), blocks_of_rows as u32, 1];
            (name, grid, (THREADS, shared))
        };
        let alike = || KERNELS.iter().filter(|kernel| kernel.columns == columns).map(launch);
        let try_all = || self.queue().fastest(&alike().collect::<Vec<_>>(), params);
        let index = *locked(&self.products).entry(shape).or_insert_with(try_all);
        let (name, grid, room) = alike().nth(index).expect("the fastest is one of them");
        self.queue().launch(name, grid, room, params);
    }
}
