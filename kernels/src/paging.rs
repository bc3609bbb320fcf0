//! Pages of keys and values, as callers name them: formats, shapes, spans over page tables.
//!
//! Used by every backend. How a page is laid out in memory is each backend's own affair. A page here has the layers of
//! its pool: where a model divides its layers among several tables, it is a piece of what the model calls a page.

use crate::number::Precision;

/// Tokens that one page holds in [`KvFormat::F32`] and [`KvFormat::Bf16`], for every layer of the pool.
pub const PAGE_TOKENS: usize = 16;

/// How a page stores keys and values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KvFormat {
    /// float32.
    F32,
    /// bfloat16.
    Bf16,
    /// `scale * q` with q in `-127 ..= 127`. Each head of each token has one float32 scale for its key and one for its
    /// value.
    Int8,
}

impl KvFormat {
    /// Tokens that one page holds, for every layer of the pool.
    pub const fn page_tokens(self) -> usize {
        match self {
            Self::F32 | Self::Bf16 => PAGE_TOKENS,
            // A page then takes as many bytes as in bfloat16, and its scales.
            Self::Int8 => 2 * PAGE_TOKENS,
        }
    }
}

impl From<Precision> for KvFormat {
    fn from(precision: Precision) -> Self {
        match precision {
            Precision::F32 => Self::F32,
            Precision::Bf16 => Self::Bf16,
        }
    }
}

/// Shape of a page pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageShape {
    /// Pages.
    pub pages: usize,
    /// Layers that every page holds.
    pub layers: usize,
    /// K/V heads of a layer.
    pub kv_heads: usize,
    /// Width of one head.
    pub head_dim: usize,
}

/// A copy of a whole page, all of its layers, over another page of the same pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, bytemuck::NoUninit)]
#[repr(C)]
pub struct PageCopy {
    /// Page that is read.
    pub from: u32,
    /// Page that is overwritten.
    pub to: u32,
}

impl PageCopy {
    /// Checks that copies within a pool of `pages` pages give the same whatever their order.
    ///
    /// # Panics
    /// When a page is not there, is written twice, or is both read and written.
    pub(crate) fn check(copies: &[Self], pages: usize) {
        let is_there = |copy: &Self| (copy.from as usize) < pages && (copy.to as usize) < pages;
        assert!(copies.iter().all(is_there), "a page is not there");
        let mut written: Vec<u32> = copies.iter().map(|copy| copy.to).collect();
        written.sort_unstable();
        assert!(written.windows(2).all(|pair| pair[0] < pair[1]), "a page is written twice");
        let is_read_only = |copy: &Self| written.binary_search(&copy.from).is_err();
        assert!(copies.iter().all(is_read_only), "a page is both read and written");
    }
}

/// The pages of one sequence: `tokens` positions held by `tables[first ..]`, [`KvFormat::page_tokens`] to a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, bytemuck::NoUninit)]
#[repr(C)]
pub struct PageSpan {
    /// Index of the first page's entry in the flat page table.
    pub first: u32,
    /// Positions that are read.
    pub tokens: u32,
}

/// Pages of a batch of rows.
#[derive(Debug, Clone, Copy)]
pub struct PagedRows<'a> {
    /// One span for each row. `tokens` counts the positions that the row may see, its own included.
    pub spans: &'a [PageSpan],
    /// Page indices that the spans point into.
    pub tables: &'a [u32],
    /// Format of those pages.
    pub format: KvFormat,
}

/// One layer of a page pool, to be read.
#[derive(Debug)]
pub struct LayerPages<'a, Pages> {
    /// The pool.
    pub pages: &'a Pages,
    /// Decoder layer.
    pub layer: usize,
}

/// One layer of a page pool, to be written.
#[derive(Debug)]
pub struct LayerPagesMut<'a, Pages> {
    /// The pool.
    pub pages: &'a mut Pages,
    /// Decoder layer.
    pub layer: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_refused(copies: &[[u32; 2]]) -> bool {
        let copies: Vec<PageCopy> = copies.iter().map(|&[from, to]| PageCopy { from, to }).collect();
        std::panic::catch_unwind(|| PageCopy::check(&copies, 5)).is_err()
    }

    #[test]
    fn copies_that_depend_on_their_order_are_refused() {
        assert!(!is_refused(&[]));
        assert!(!is_refused(&[[0, 1], [0, 2], [4, 3]]));
        assert!(is_refused(&[[0, 1], [2, 1]]), "written twice");
        assert!(is_refused(&[[0, 1], [1, 2]]), "read and written");
        assert!(is_refused(&[[3, 3]]), "copied over itself");
        assert!(is_refused(&[[0, 5]]) && is_refused(&[[5, 0]]), "not there");
    }
}
