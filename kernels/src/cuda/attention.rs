//! Attention, and writing and copying pages.
//!
//! `pages.cu` has the kernels that write; `attend_full` and `attend_paged` launch those that attend.

use bytemuck::NoUninit;

use super::activations::Activations;
use super::backend::Cuda;
use super::device::{Blocks, Device};
use super::norm::Gain;
use super::number::Number;
use super::pages::{PagedLayer, Pages, flat, page_numbers};
use super::rope::{HeadGains, RopeTable, head_gain};
use crate::attention::{FullAttention, PagedAttention, Segment};
use crate::backend::{AttentionOps, KvColumns, RotaryHeads, RotaryRows};
use crate::number::Precision;
use crate::paging::{LayerPages, LayerPagesMut, PageCopy, PageShape, PagedRows};

/// Threads of the kernels in `pages.cu`.
const THREADS: u32 = 256;
/// Units of 16 bytes that a block copies of a page, so that long pages are copied by many blocks.
const COPY_FOURS: usize = 16 * THREADS as usize;

#[derive(Clone, Copy, NoUninit)]
#[repr(C)]
struct WritePages {
    kv: u64,
    layer: PagedLayer,
    pitch: u32,
    unused: u32,
}

#[derive(Clone, Copy, NoUninit)]
#[repr(C)]
struct WriteNormedPages {
    write: WritePages,
    key_gain: u64,
    eps: f32,
    unused: u32,
}

#[derive(Clone, Copy, NoUninit)]
#[repr(C)]
struct RopePages {
    qkv: u64,
    positions: u64,
    table: u64,
    layer: PagedLayer,
    pitch: u32,
    heads: u32,
}

#[derive(Clone, Copy, NoUninit)]
#[repr(C)]
struct NormedRopePages {
    rope: RopePages,
    query_gain: u64,
    key_gain: u64,
    eps: f32,
    unused: u32,
}

#[derive(Clone, Copy, NoUninit)]
#[repr(C)]
struct CopyPages {
    pages: u64,
    copies: u64,
    page_fours: u64,
}

impl<D: Device> AttentionOps for Cuda<D> {
    fn write_pages(
        &self,
        kv: KvColumns<'_, Activations<D>, Gain<D>>,
        rows: PagedRows<'_>,
        to: LayerPagesMut<'_, Pages<D>>,
    ) {
        let KvColumns { rows: kv, first, key_norm } = kv;
        let PageShape { kv_heads, head_dim, .. } = to.pages.shape;
        assert!(first + 2 * kv_heads * head_dim <= kv.width, "a row holds keys and values of all heads");
        assert!(first.is_multiple_of(8), "heads begin at multiples of 8");
        let lists = self.queue().lists([flat(rows.spans), rows.tables]);
        let layer = self.written_layer(to.pages, to.layer, rows, lists);
        let kv_address = kv.rows(0, rows.spans.len(), Number::Bf16) + (first * Number::Bf16.bytes()) as u64;
        let write = WritePages { kv: kv_address, layer, pitch: kv.pitch as u32, unused: 0 };
        let blocks = Blocks::per_row(rows.spans.len(), THREADS);
        match key_norm {
            None => self.queue().launch("write_pages", blocks, &write),
            Some(norm) => {
                let key_gain = head_gain(norm.gain, head_dim);
                let params = WriteNormedPages { write, key_gain, eps: norm.eps, unused: 0 };
                self.queue().launch("write_normed_pages", blocks, &params);
            }
        }
    }

    fn rope_and_write(
        &self,
        qkv: &mut Activations<D>,
        rows: RotaryRows<'_>,
        heads: RotaryHeads<'_, RopeTable<D>, Gain<D>>,
        to: LayerPagesMut<'_, Pages<D>>,
    ) {
        let RotaryRows { positions, paged } = rows;
        let RotaryHeads { shape, table, norms } = heads;
        let PageShape { kv_heads, head_dim, .. } = to.pages.shape;
        table.check(positions);
        assert!(kv_heads == shape.kv_heads && head_dim == shape.head_dim, "the pages hold these heads");
        assert_eq!(table.head_dim, head_dim, "angles are those of heads as wide");
        assert!(shape.query_width() + 2 * shape.kv_width() <= qkv.width, "a row holds all heads");
        assert_eq!(positions.len(), paged.spans.len(), "every row has a position");
        let [positions_at, spans, tables] = self.queue().lists([positions, flat(paged.spans), paged.tables]);
        let rope = RopePages {
            qkv: qkv.rows(0, positions.len(), Number::Bf16),
            positions: positions_at,
            table: table.memory.address(),
            layer: self.written_layer(to.pages, to.layer, paged, [spans, tables]),
            pitch: qkv.pitch as u32,
            heads: shape.heads as u32,
        };
        let blocks = Blocks::per_row(positions.len(), THREADS);
        match norms.map(|norms| HeadGains::new(norms, head_dim)) {
            None => self.queue().launch("rope_pages", blocks, &rope),
            Some(HeadGains { query, key, eps }) => {
                let params = NormedRopePages { rope, query_gain: query, key_gain: key, eps, unused: 0 };
                self.queue().launch("normed_rope_pages", blocks, &params);
            }
        }
    }

    fn copy_pages(&self, copies: &[PageCopy], pages: &mut Pages<D>) {
        PageCopy::check(copies, pages.shape.pages);
        let [copies_at] = self.queue().lists([bytemuck::cast_slice(copies)]);
        let page_fours = page_numbers(pages.shape) * Number::Bf16.bytes() / 16;
        let params = CopyPages { pages: pages.address(), copies: copies_at, page_fours: page_fours as u64 };
        let blocks = Blocks::per_row(copies.len(), THREADS).times(page_fours.div_ceil(COPY_FOURS));
        self.queue().launch("copy_pages", blocks, &params);
    }

    fn attend_full(
        &self,
        qkv: &Activations<D>,
        segments: &[Segment],
        attention: FullAttention<'_>,
        out: &mut Activations<D>,
    ) {
        assert_eq!(attention.precision, Precision::Bf16, "attention is in bfloat16");
        self.attend_segments(qkv, segments, attention, out);
    }

    fn attend_paged(
        &self,
        q: &Activations<D>,
        attention: PagedAttention<'_>,
        from: LayerPages<'_, Pages<D>>,
        out: &mut Activations<D>,
    ) {
        self.attend_pages(q, attention, from, out);
    }
}
