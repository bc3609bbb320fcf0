//! The page pool on a device, and how kernels find one layer of it.
//!
//! Used by `attention` and `attend_paged`. `pages.cu` says how a page is laid out.

use bytemuck::NoUninit;

use super::backend::Cuda;
use super::device::Device;
use super::memory::{Heap, Memory};
use super::number::Number;
use super::recording::CheckedLists;
use crate::error::{Error, Result};
use crate::paging::{KvFormat, PAGE_TOKENS, PageShape, PageSpan, PagedRows};

/// Pages of bfloat16 keys and values.
pub struct Pages<D: Device> {
    memory: Memory<D>,
    pub(super) shape: PageShape,
}

/// One layer of the pages and the pages of each row, as kernels that write take them.
#[derive(Clone, Copy, NoUninit)]
#[repr(C)]
pub(super) struct PagedLayer {
    pages: u64,
    spans: u64,
    tables: u64,
    page_numbers: u64,
    layer_offset: u64,
    kv_heads: u32,
    head_dim: u32,
}

/// Numbers of a page.
pub(super) const fn page_numbers(shape: PageShape) -> usize {
    shape.layers * layer_numbers(shape)
}

const fn layer_numbers(shape: PageShape) -> usize {
    2 * shape.kv_heads * PAGE_TOKENS * shape.head_dim
}

/// Where a kernel finds one layer of the pages.
pub(super) struct Layer {
    /// Address of the first page.
    pub(super) pages: u64,
    /// Numbers of a page.
    pub(super) page_numbers: u64,
    /// Numbers of a page before the layer.
    pub(super) offset: u64,
}

impl<D: Device> Pages<D> {
    pub(super) fn new(heap: &Heap<D>, shape: PageShape, formats: &[KvFormat]) -> Result<Self> {
        if let Some(format) = formats.iter().find(|&&format| format != KvFormat::Bf16) {
            return Err(Error::Unavailable { wanted: format!("{format:?} pages"), available: "Bf16".into() });
        }
        let bytes = shape.pages * page_numbers(shape) * Number::Bf16.bytes();
        Ok(Self { memory: Memory::new(heap, bytes, "the page pool")?, shape })
    }

    /// Address of the first page.
    pub(super) const fn address(&self) -> u64 {
        self.memory.address()
    }

    pub(super) fn layer(&self, layer: usize) -> Layer {
        assert!(layer < self.shape.layers, "the pages have no layer {layer}");
        Layer {
            pages: self.address(),
            page_numbers: page_numbers(self.shape) as u64,
            offset: (layer * layer_numbers(self.shape)) as u64,
        }
    }

    /// Refuses what would be read or written outside the pages.
    fn check(&self, rows: PagedRows<'_>) {
        assert_eq!(rows.format, KvFormat::Bf16, "the pages hold bfloat16");
        assert!(rows.tables.iter().all(|&page| (page as usize) < self.shape.pages), "a page is not there");
        let end = |span: &PageSpan| span.first as usize + (span.tokens as usize).div_ceil(PAGE_TOKENS);
        assert!(rows.spans.iter().all(|span| end(span) <= rows.tables.len()), "a span reaches beyond the tables");
    }
}

/// Spans as kernels read them: first entry and positions of each.
pub(super) fn flat(spans: &[PageSpan]) -> &[u32] {
    bytemuck::cast_slice(spans)
}

impl<D: Device> Cuda<D> {
    /// Refuses what would be read or written outside the pages; `lists` are the addresses of spans and tables.
    pub(super) fn check_pages(&self, pages: &Pages<D>, rows: PagedRows<'_>, lists: [u64; 2]) {
        let [spans, tables] = lists;
        let lists = CheckedLists { spans, tables, pages: pages.address() };
        self.queue().check_once(lists, || pages.check(rows));
    }

    /// One layer, whose rows `rows` are written; `lists` are the addresses of spans and tables.
    pub(super) fn written_layer(
        &self,
        pages: &Pages<D>,
        layer: usize,
        rows: PagedRows<'_>,
        lists: [u64; 2],
    ) -> PagedLayer {
        let PageShape { kv_heads, head_dim, .. } = pages.shape;
        assert!(head_dim.is_multiple_of(8), "heads are multiples of 8 wide");
        assert!(rows.spans.iter().all(|span| span.tokens > 0), "a row is written to one of its positions");
        self.check_pages(pages, rows, lists);
        let Layer { pages, page_numbers, offset: layer_offset } = pages.layer(layer);
        let ([spans, tables], kv_heads, head_dim) = (lists, kv_heads as u32, head_dim as u32);
        PagedLayer { pages, spans, tables, page_numbers, layer_offset, kv_heads, head_dim }
    }
}
