//! Products of rows with matrices.
//!
//! Called by the backend in `cuda`. `product.cu` has the kernels for up to [`FEW_ROWS`] rows; more go to the device's
//! library.

use bytemuck::NoUninit;

use super::activations::Activations;
use super::backend::Cuda;
use super::device::{Blocks, Device, LargeProduct, NO_ADDRESS, Work};
use super::matrix::Matrix;
use super::number::Number;
use super::product_kernels::{FEW_ROWS, ProductKind, ProductShape};
use crate::backend::{GatedRows, LinearRows};

const THREADS: u32 = 256;

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

impl<D: Device> Cuda<D> {
    /// `out[to + i] = softcap(x[from + i] . matrix^T)` for `count` rows.
    pub(super) fn product(
        &self,
        x: &Activations<D>,
        matrix: &Matrix<D>,
        (rows, cap): (LinearRows, Option<f32>),
        out: &mut Activations<D>,
    ) {
        assert!(x.width == matrix.cols && out.width == matrix.rows, "the rows are as wide as the matrix");
        let LinearRows { from, to, count } = rows;
        let wide = out.number == Number::F32;
        let best = if wide { out.best(&self.heap, to, count) } else { NO_ADDRESS };
        let params = Product {
            x: x.rows(from, count, Number::Bf16),
            matrix: matrix.address(),
            out: out.rows(to, count, out.number),
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
        if count > FEW_ROWS && !self.deterministic {
            self.many_rows(matrix, &params);
            self.queue().moves(x.bytes(count) + matrix.wide_bytes() + out.bytes(count));
            if wide {
                self.cap_rows(&params);
                self.queue().moves(2 * out.bytes(count) + out.best_bytes(count));
            }
            return;
        }
        self.few_rows(&params, ProductKind::Plain);
        self.queue().moves(x.bytes(count) + matrix.bytes() + out.bytes(count) + out.best_bytes(count));
    }

    /// `out[i] = gelu_tanh(gate) * up` of `[gate | up] = x[from + i] . matrix^T`.
    pub(super) fn gated_product(
        &self,
        x: &Activations<D>,
        matrix: &Matrix<D>,
        rows: LinearRows,
        output: GatedRows<'_, Activations<D>>,
    ) {
        let GatedRows { gate_up, out } = output;
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
            best: NO_ADDRESS,
        };
        self.few_rows(&params, ProductKind::Gated);
    }

    /// Multiplies by the fastest kernel of `product.cu`.
    fn few_rows(&self, params: &Product, kind: ProductKind) {
        let Product { rows, outputs, depth, scales, .. } = *params;
        let shape = ProductShape { kind, rows: rows as usize, outputs, depth, has_scales: scales != NO_ADDRESS };
        let fastest = self.fastest.choose(shape, |variants| self.queue().fastest(variants, params));
        self.queue().launch(fastest.kernel, fastest.blocks, params);
    }

    /// Multiplies by the device's library, which applies no soft cap.
    fn many_rows(&self, matrix: &Matrix<D>, params: &Product) {
        self.queue().submit(Work::Product(LargeProduct {
            x: params.x,
            matrix: self.widened(matrix),
            out: params.out,
            rows: params.rows as usize,
            outputs: matrix.rows,
            depth: matrix.cols,
            x_pitch: params.x_pitch as usize,
            matrix_pitch: matrix.pitch,
            out_pitch: params.out_pitch as usize,
            wide: params.wide != 0,
        }));
    }

    /// Applies the soft cap to float32 rows that the library wrote, and notes the best of them.
    fn cap_rows(&self, product: &Product) {
        let &Product { out, best, out_pitch, outputs, cap, rows, .. } = product;
        let params = Softcap { values: out, best, pitch: out_pitch, width: outputs, cap, unused: 0 };
        let blocks = Blocks::per_row(rows as usize, THREADS).times(outputs.div_ceil(THREADS) as usize);
        self.queue().launch("softcap_rows", blocks, &params);
    }
}
