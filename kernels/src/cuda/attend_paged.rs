//! Attention of single rows over their pages, of one side or of two under one softmax.
//!
//! Called by the backend in `cuda`. `attend_paged.cu` has the kernels.

use bytemuck::NoUninit;

use super::activations::Activations;
use super::backend::Cuda;
use super::device::{Blocks, Device};
use super::heads::{HeadKernel, kernel_for};
use super::number::Number;
use super::pages::{Layer, Pages, flat};
use crate::backend::{AttentionShape, KvSide, LayerPages, PagedAttention};

const THREADS: u32 = 256;
const WARPS: usize = 8;
/// Positions of a part.
const SPLIT: usize = 128;
/// Queries that read keys and values together.
const COLUMNS: usize = 8;
/// Numbers that a weight is the sum of.
const PIECES: usize = 3;
/// Numbers of a head that a warp adds values up for.
const CHUNK: usize = 64;
const KERNELS: [HeadKernel; 3] = [
    HeadKernel { widest: 64, name: "attend_paged_64" },
    HeadKernel { widest: 128, name: "attend_paged_128" },
    HeadKernel { widest: 256, name: "attend_paged_256" },
];

#[derive(Clone, Copy, NoUninit)]
#[repr(C)]
struct AttendPaged {
    q: u64,
    pages: u64,
    parts: u64,
    finished: u64,
    out: u64,
    page_numbers: u64,
    layer_offset: u64,
    first: Side,
    second: Side,
    q_pitch: u32,
    out_pitch: u32,
    rows: u32,
    heads: u32,
    kv_heads: u32,
    head_dim: u32,
    scale: f32,
    cap: f32,
}

/// Keys and values of one side; all zeros where there is no such side.
#[derive(Clone, Copy, Default, NoUninit)]
#[repr(C)]
struct Side {
    spans: u64,
    tables: u64,
    window: u32,
    most_parts: u32,
}

impl Side {
    /// A side whose spans and tables are at these addresses.
    fn new(side: &KvSide<'_>, [spans, tables]: [u64; 2]) -> Self {
        let longest = side.rows.spans.iter().map(|span| span.tokens).max().unwrap_or(0);
        // Powers of two keep steps alike for long.
        let most_parts = (longest as usize).div_ceil(SPLIT).max(1).next_power_of_two() as u32;
        let window = side.window.map_or(u32::MAX, |window| u32::try_from(window).unwrap_or(u32::MAX));
        Self { spans, tables, window, most_parts }
    }
}

impl<D: Device> Cuda<D> {
    pub(super) fn attend_pages(
        &self,
        q: &Activations<D>,
        attention: PagedAttention<'_>,
        from: LayerPages<'_, Pages<D>>,
        out: &mut Activations<D>,
    ) {
        let LayerPages { pages, layer } = from;
        let AttentionShape { heads, kv_heads, head_dim, scale, softcap } = *attention.shape;
        let width = attention.shape.query_width();
        assert!(pages.shape.kv_heads == kv_heads && pages.shape.head_dim == head_dim, "the pages hold these heads");
        assert!(q.width >= width && out.width == width, "rows hold all heads");
        let HeadKernel { widest, name } = kernel_for(head_dim, &KERNELS);
        let count = attention.rows();
        let [first, second] = self.sides(attention, pages);
        let most_parts = (first.most_parts + second.most_parts) as usize;
        let shares = (heads / kv_heads).div_ceil(COLUMNS);
        let grid = [count as u32, (kv_heads * shares) as u32, most_parts as u32];
        let blocks = Blocks { grid, threads: THREADS, shared_bytes: room_bytes(widest) };
        let finished = self.queue().finished(count * kv_heads * shares);
        let parts = self.queue().partials(count * heads * most_parts * (head_dim + 2) * 4);
        let Layer { pages, page_numbers, offset } = pages.layer(layer);
        let params = AttendPaged {
            q: q.rows(0, count, Number::Bf16),
            pages,
            parts,
            finished,
            out: out.rows(0, count, Number::Bf16),
            page_numbers,
            layer_offset: offset,
            first,
            second,
            q_pitch: q.pitch as u32,
            out_pitch: out.pitch as u32,
            rows: count as u32,
            heads: heads as u32,
            kv_heads: kv_heads as u32,
            head_dim: head_dim as u32,
            scale,
            cap: softcap.unwrap_or(0.0),
        };
        self.queue().launch(name, blocks, &params);
    }

    /// Sides as the kernel reads them. Their lists are asked for at once: outside a step they share the memory of one
    /// op.
    fn sides(&self, attention: PagedAttention<'_>, pages: &Pages<D>) -> [Side; 2] {
        let first = attention.first;
        let Some(second) = attention.second else {
            let [spans, tables] = self.queue().lists([flat(first.rows.spans), first.rows.tables]);
            return [self.side(&first, pages, [spans, tables]), Side::default()];
        };
        let lists = [flat(first.rows.spans), first.rows.tables, flat(second.rows.spans), second.rows.tables];
        let [spans, tables, second_spans, second_tables] = self.queue().lists(lists);
        [self.side(&first, pages, [spans, tables]), self.side(&second, pages, [second_spans, second_tables])]
    }

    /// A side whose spans and tables are at these addresses.
    fn side(&self, side: &KvSide<'_>, pages: &Pages<D>, [spans, tables]: [u64; 2]) -> Side {
        self.check_pages(pages, side.rows, [spans, tables]);
        Side::new(side, [spans, tables])
    }
}

/// `Room` of the kernel.
const fn room_bytes(width: usize) -> usize {
    let (scores, weights) = (COLUMNS * (SPLIT + 4), PIECES * COLUMNS * (SPLIT / 2 + 4));
    let sums = WARPS / (width / CHUNK) * COLUMNS * (width + 1);
    let (columns, kv_head, is_last) = (4, 1, 1);
    4 * (scores + weights + 2 * COLUMNS + sums + columns + kv_head + is_last)
}
