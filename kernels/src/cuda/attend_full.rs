//! Bidirectional attention within segments.
//!
//! Called by the backend in `cuda`. `attend_full.cu` has the kernels.

use bytemuck::NoUninit;

use super::activations::Activations;
use super::backend::Cuda;
use super::device::{Blocks, Device};
use super::heads::{HeadKernel, kernel_for};
use super::number::Number;
use crate::attention::{AttentionShape, FullAttention, QueryRows, Segment};

const THREADS: u32 = 128;
/// Queries of a block.
const QUERIES: u32 = 64;
const KERNELS: [HeadKernel; 4] = [
    HeadKernel { widest: 16, name: "attend_full_16" },
    HeadKernel { widest: 64, name: "attend_full_64" },
    HeadKernel { widest: 128, name: "attend_full_128" },
    HeadKernel { widest: 256, name: "attend_full_256" },
];
/// A limit longer than any sequence; positions can be added to it without overflow.
const NO_LIMIT: usize = 1 << 30;

#[derive(Clone, Copy, NoUninit)]
#[repr(C)]
struct AttendFull {
    qkv: u64,
    out: u64,
    tiles: u64,
    in_pitch: u32,
    out_pitch: u32,
    heads: u32,
    kv_heads: u32,
    head_dim: u32,
    left: u32,
    right: u32,
    scale: f32,
    cap: f32,
    unused: u32,
}

impl<D: Device> Cuda<D> {
    pub(super) fn attend_segments(
        &self,
        qkv: &Activations<D>,
        segments: &[Segment],
        attention: FullAttention<'_>,
        out: &mut Activations<D>,
    ) {
        let FullAttention { shape, window, queries, .. } = attention;
        let AttentionShape { heads, kv_heads, head_dim, scale, softcap } = *shape;
        let width = shape.query_width() + 2 * shape.kv_width();
        assert!(qkv.width == width && out.width == shape.query_width(), "rows hold all heads");
        let rows = segments.iter().map(|segment| (segment.start + segment.len) as usize).max().unwrap_or(0);
        let limit = |positions: Option<usize>| positions.unwrap_or(NO_LIMIT).min(NO_LIMIT) as u32;
        let tiles = tiles(segments, queries);
        let count = tiles.len() / 3;
        let [tiles] = self.queue().lists([&tiles]);
        let params = AttendFull {
            qkv: qkv.rows(0, rows, Number::Bf16),
            out: out.rows(0, rows, Number::Bf16),
            tiles,
            in_pitch: qkv.pitch as u32,
            out_pitch: out.pitch as u32,
            heads: heads as u32,
            kv_heads: kv_heads as u32,
            head_dim: head_dim as u32,
            left: limit(window.left),
            right: limit(window.right),
            scale,
            cap: softcap.unwrap_or(0.0),
            unused: 0,
        };
        let HeadKernel { widest, name } = kernel_for(head_dim, &KERNELS);
        let shared = (QUERIES as usize + 2 * keys_at_once(widest)) * (widest + 8) * Number::Bf16.bytes();
        self.queue().launch(name, Blocks::per_row(count, THREADS).times(heads).with_shared(shared), &params);
    }
}

/// Keys that a block of the kernel for heads of this width reads together.
const fn keys_at_once(widest: usize) -> usize {
    if widest > 128 { 32 } else { 64 }
}

/// Three numbers for each block of queries: its segment's first row, the segment's length, and the position of its
/// first query there; only blocks that hold wanted queries. Blocks of the longest segments take longest and come first,
/// so that none of them is left to the end.
fn tiles(segments: &[Segment], queries: QueryRows) -> Vec<u32> {
    let starts = |segment: &Segment| {
        let wanted = queries.of(segment);
        let (first, end) = (wanted.start as u32 / QUERIES * QUERIES, wanted.end as u32);
        (first..if wanted.is_empty() { first } else { end }).step_by(QUERIES as usize)
    };
    let mut longest_first: Vec<&Segment> = segments.iter().collect();
    longest_first.sort_by_key(|segment| std::cmp::Reverse(segment.len));
    longest_first
        .into_iter()
        .flat_map(|segment| starts(segment).flat_map(|first| [segment.start, segment.len, first]))
        .collect()
}
