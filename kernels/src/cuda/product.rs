//! Products of rows with matrices.
//!
//! `product.cu` has the kernels for up to [`FEW_ROWS`] rows; more go to the device's library.

use bytemuck::NoUninit;

use super::activations::Activations;
use super::backend::Cuda;
use super::device::{Blocks, Device, LargeProduct, NO_ADDRESS, Work};
use super::matrix::{Matrix, MatrixRows};
use super::number::Number;
use super::product_kernels::{FEW_ROWS, ProductKind, ProductShape};
use crate::backend::{GatedRows, LinearRows, OutputLayer, Outputs, ProductOps, RowOps};

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

/// A product and its epilogue.
pub(super) struct Multiplication<'a, D: Device> {
    pub x: &'a Activations<D>,
    /// Rows of a matrix: one for each output.
    pub matrix: MatrixRows<'a, D>,
    pub rows: LinearRows,
    pub softcap: Option<f32>,
}

impl<D: Device> ProductOps for Cuda<D> {
    fn linear<'a>(
        &self,
        x: &Activations<D>,
        outputs: impl Into<Outputs<'a, Matrix<D>>>,
        rows: LinearRows,
        out: &mut Activations<D>,
    ) {
        let outputs: Outputs<'a, Matrix<D>> = outputs.into();
        let columns = outputs.columns(outputs.matrix.rows);
        let matrix = outputs.matrix.rows(columns);
        self.multiply(Multiplication { x, matrix, rows, softcap: None }, out);
    }

    fn linear_geglu(
        &self,
        x: &Activations<D>,
        matrix: &Matrix<D>,
        rows: LinearRows,
        to: GatedRows<'_, Activations<D>>,
    ) {
        let GatedRows { gate_up, out } = to;
        let rows = LinearRows { to: 0, ..rows };
        if rows.count > FEW_ROWS && !self.deterministic {
            self.linear(x, matrix, rows, gate_up);
            return self.geglu(gate_up, rows.count, out);
        }
        let width = out.width;
        assert!(matrix.rows == 2 * width && width.is_multiple_of(8), "gate and up are multiples of 8 wide");
        let product = Multiplication { x, matrix: matrix.all(), rows, softcap: None };
        let params = Product { outputs: width as u32, ..Product::new(&product, out) };
        self.few_rows(&params, ProductKind::Gated);
    }

    fn logits(&self, x: &Activations<D>, output: OutputLayer<'_, Matrix<D>>, rows: usize, out: &mut Activations<D>) {
        let OutputLayer { table, softcap } = output;
        let rows = LinearRows::first(rows);
        self.multiply(Multiplication { x, matrix: table.all(), rows, softcap }, out);
    }
}

impl Product {
    fn new<D: Device>(product: &Multiplication<'_, D>, out: &Activations<D>) -> Self {
        let &Multiplication { x, ref matrix, rows, softcap } = product;
        assert_eq!(x.width, matrix.cols(), "the rows are as wide as the matrix");
        Self {
            x: x.rows(rows.from, rows.count, Number::Bf16),
            matrix: matrix.address(),
            out: out.rows(rows.to, rows.count, out.number),
            rows: rows.count as u32,
            outputs: matrix.count() as u32,
            depth: matrix.pitch() as u32,
            x_pitch: x.pitch as u32,
            matrix_pitch: matrix.pitch() as u32,
            out_pitch: out.pitch as u32,
            wide: u32::from(out.number == Number::F32),
            cap: softcap.unwrap_or(0.0),
            scales: matrix.scales(),
            best: NO_ADDRESS,
        }
    }
}

impl<D: Device> Cuda<D> {
    /// `out[to + i] = softcap(x[from + i] . matrix^T)` for `count` rows.
    pub(super) fn multiply(&self, product: Multiplication<'_, D>, out: &mut Activations<D>) {
        let &Multiplication { x, ref matrix, rows: LinearRows { to, count, .. }, .. } = &product;
        assert_eq!(out.width, matrix.count(), "there is a column for each output");
        let mut params = Product::new(&product, out);
        if out.number == Number::F32 {
            params.best = out.best(&self.heap, to, count);
        }
        if count > FEW_ROWS && !self.deterministic {
            self.many_rows(matrix, &params);
            self.queue().moves(x.bytes(count) + matrix.wide_bytes() + out.bytes(count));
            if out.number == Number::F32 {
                self.cap_rows(&params);
                self.queue().moves(2 * out.bytes(count) + out.best_bytes(count));
            }
            return;
        }
        self.few_rows(&params, ProductKind::Plain);
        self.queue().moves(x.bytes(count) + matrix.bytes() + out.bytes(count) + out.best_bytes(count));
    }

    /// Multiplies by the fastest kernel of `product.cu`.
    fn few_rows(&self, params: &Product, kind: ProductKind) {
        let Product { rows, outputs, depth, scales, .. } = *params;
        let shape = ProductShape { kind, rows: rows as usize, outputs, depth, has_scales: scales != NO_ADDRESS };
        let fastest = self.fastest.choose(shape, |variants| self.queue().fastest(variants, params));
        self.queue().launch(fastest.kernel, fastest.blocks, params);
    }

    /// Multiplies by the device's library, which applies no soft cap.
    fn many_rows(&self, matrix: &MatrixRows<'_, D>, params: &Product) {
        self.queue().submit(Work::Product(LargeProduct {
            x: params.x,
            matrix: self.widened(matrix),
            out: params.out,
            rows: params.rows as usize,
            outputs: matrix.count(),
            depth: matrix.cols(),
            x_pitch: params.x_pitch as usize,
            matrix_pitch: matrix.pitch(),
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
