//! The page pool on a device.
//!
//! Called by the backend in `cuda`. `pages.cu` has the kernel and says how a page is laid out.

use bytemuck::NoUninit;

use super::activations::Activations;
use super::backend::Cuda;
use super::device::{Blocks, Device};
use super::memory::{Heap, Memory};
use super::number::Number;
use super::recording::CheckedLists;
use super::rope::RopeTable;
use crate::backend::{
    AttentionShape, Error, KvColumns, KvFormat, LayerPagesMut, PAGE_TOKENS, PageShape, PageSpan, PagedRows, Result,
    RotaryHeads, RotaryRows,
};

const THREADS: u32 = 256;

/// Pages of bfloat16 keys and values.
pub struct Pages<D: Device> {
    memory: Memory<D>,
    pub(super) shape: PageShape,
}

#[derive(Clone, Copy, NoUninit)]
#[repr(C)]
struct WritePages {
    kv: u64,
    pages: u64,
    spans: u64,
    tables: u64,
    page_numbers: u64,
    layer_offset: u64,
    pitch: u32,
    kv_heads: u32,
    head_dim: u32,
    unused: u32,
}

#[derive(Clone, Copy, NoUninit)]
#[repr(C)]
struct RopePages {
    qkv: u64,
    positions: u64,
    table: u64,
    pages: u64,
    spans: u64,
    tables: u64,
    page_numbers: u64,
    layer_offset: u64,
    pitch: u32,
    heads: u32,
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

/// Where a kernel finds one layer of the pages: their address, the numbers of a page, the layer's first number in it.
pub(super) struct Layer {
    pub(super) pages: u64,
    pub(super) page_numbers: u64,
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

    pub(super) fn layer(&self, layer: usize) -> Layer {
        assert!(layer < self.shape.layers, "the pages have no layer {layer}");
        Layer {
            pages: self.memory.address(),
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
        let lists = CheckedLists { spans, tables, pages: pages.memory.address() };
        self.queue().check_once(lists, || pages.check(rows));
    }

    pub(super) fn write_rows(
        &self,
        kv: KvColumns<'_, Activations<D>>,
        rows: PagedRows<'_>,
        to: LayerPagesMut<'_, Pages<D>>,
    ) {
        let KvColumns { rows: kv, first: kv_column } = kv;
        let LayerPagesMut { pages, layer } = to;
        let PageShape { kv_heads, head_dim, .. } = pages.shape;
        assert!(kv_column + 2 * kv_heads * head_dim <= kv.width, "a row holds keys and values of all heads");
        assert!(kv_column.is_multiple_of(8) && head_dim.is_multiple_of(8), "heads are multiples of 8 wide");
        assert!(rows.spans.iter().all(|span| span.tokens > 0), "a row is written to one of its positions");
        let [spans, tables] = self.queue().lists([flat(rows.spans), rows.tables]);
        self.check_pages(pages, rows, [spans, tables]);
        let Layer { pages, page_numbers, offset } = pages.layer(layer);
        let params = WritePages {
            kv: kv.rows(0, rows.spans.len(), Number::Bf16) + (kv_column * Number::Bf16.bytes()) as u64,
            pages,
            spans,
            tables,
            page_numbers,
            layer_offset: offset,
            pitch: kv.pitch as u32,
            kv_heads: kv_heads as u32,
            head_dim: head_dim as u32,
            unused: 0,
        };
        self.queue().launch("write_pages", Blocks::per_row(rows.spans.len(), THREADS), &params);
    }

    pub(super) fn rope_and_write_rows(
        &self,
        qkv: &mut Activations<D>,
        rows: RotaryRows<'_>,
        heads: RotaryHeads<'_, RopeTable<D>>,
        to: LayerPagesMut<'_, Pages<D>>,
    ) {
        let RotaryRows { positions, paged: rows } = rows;
        let RotaryHeads { shape, table } = heads;
        let LayerPagesMut { pages, layer } = to;
        table.check(positions);
        let AttentionShape { heads, kv_heads, head_dim, .. } = *shape;
        assert!(pages.shape.kv_heads == kv_heads && pages.shape.head_dim == head_dim, "the pages hold these heads");
        assert!(
            table.head_dim == head_dim && head_dim.is_multiple_of(8),
            "heads are multiples of 8 wide, and so are their angles"
        );
        assert!(shape.query_width() + 2 * shape.kv_width() <= qkv.width, "a row holds all heads");
        assert!(positions.len() == rows.spans.len(), "every row has a position");
        assert!(rows.spans.iter().all(|span| span.tokens > 0), "a row is written to one of its positions");
        let [positions_at, spans, tables] = self.queue().lists([positions, flat(rows.spans), rows.tables]);
        self.check_pages(pages, rows, [spans, tables]);
        let Layer { pages, page_numbers, offset } = pages.layer(layer);
        let params = RopePages {
            qkv: qkv.rows(0, positions.len(), Number::Bf16),
            positions: positions_at,
            table: table.memory.address(),
            pages,
            spans,
            tables,
            page_numbers,
            layer_offset: offset,
            pitch: qkv.pitch as u32,
            heads: heads as u32,
            kv_heads: kv_heads as u32,
            head_dim: head_dim as u32,
        };
        self.queue().launch("rope_pages", Blocks::per_row(positions.len(), THREADS), &params);
    }
}
