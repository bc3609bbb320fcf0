//! The kernels of `product.cu`, and which of them is the fastest for a product.
//!
//! Used by `product`. Kernels that take the same number of rows give the same bits: only speed decides between them.

use std::collections::HashMap;
use std::sync::Mutex;

use super::device::Blocks;
use super::lock::locked;
use super::queue::Variant;

/// Most rows of a product that one block takes.
pub(super) const FEW_ROWS: usize = 64;
/// Outputs that a kernel computes together.
const TILE: usize = 16;
const THREADS: u32 = 256;
const WARPS: usize = THREADS as usize / 32;

/// A kernel of `product.cu`.
struct ProductKernel {
    /// Rows of `x` that a block takes.
    columns: usize,
    /// Tiles that a block computes.
    tiles: usize,
    /// Names by [`ProductKind`], then for matrices of bfloat16 and of int8.
    names: [[&'static str; 2]; 2],
}

/// The result that a kernel writes; index of [`ProductKernel::names`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum ProductKind {
    /// The sums.
    Plain,
    /// `gelu_tanh(gate) * up`.
    Gated,
}

/// Properties of a product that decide which kernel is the fastest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct ProductShape {
    pub kind: ProductKind,
    /// Rows of `x`.
    pub rows: usize,
    /// Numbers written for each row.
    pub outputs: u32,
    /// Numbers along the sum, with their padding.
    pub depth: u32,
    /// The matrix is int8.
    pub has_scales: bool,
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

/// Sorted by the rows that they take.
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

impl ProductKernel {
    fn variant(&self, shape: &ProductShape) -> Variant {
        let kernel = self.names[shape.kind as usize][usize::from(shape.has_scales)];
        let written = match shape.kind {
            ProductKind::Plain => TILE,
            ProductKind::Gated => TILE / 2,
        };
        // `PITCH` in `product.cu`.
        let pitch = self.columns | 9;
        let shared_bytes = WARPS * self.tiles * TILE * pitch * size_of::<f32>();
        let grid = [shape.outputs.div_ceil((self.tiles * written) as u32), self.blocks_of_rows(shape) as u32, 1];
        Variant { kernel, blocks: Blocks { grid, threads: THREADS, shared_bytes } }
    }

    const fn blocks_of_rows(&self, shape: &ProductShape) -> usize {
        shape.rows.div_ceil(self.columns)
    }
}

/// Kernels that were found to be the fastest.
#[derive(Default)]
pub(super) struct FastestKernels {
    /// Index among the kernels that take as many rows.
    by_shape: Mutex<HashMap<ProductShape, usize>>,
}

impl FastestKernels {
    /// The fastest kernel for a product. When a product is the first of its kind, `try_all` says which variant is the
    /// fastest.
    pub(super) fn choose(&self, shape: ProductShape, try_all: impl FnOnce(&[Variant]) -> usize) -> Variant {
        let columns = KERNELS.iter().map(|kernel| kernel.columns).find(|columns| shape.rows <= *columns);
        let columns = columns.unwrap_or(FEW_ROWS);
        let alike = KERNELS.iter().filter(|kernel| kernel.columns == columns);
        let variants: Vec<Variant> = alike.map(|kernel| kernel.variant(&shape)).collect();
        // Products with as many blocks of rows take as long.
        let key = ProductShape { rows: shape.rows.next_multiple_of(columns), ..shape };
        let index = *locked(&self.by_shape).entry(key).or_insert_with(|| try_all(&variants));
        variants[index]
    }
}
