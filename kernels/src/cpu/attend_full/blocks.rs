//! Attention over more keys than a strip of scores holds: keys and values pass in blocks.
//!
//! Called by `attend_full`. A group of queries, of all heads that share keys and values, goes over one block after the
//! other, so that a block is read from memory once for the whole group and then stays in the cache. No memory grows
//! with the number of keys. What a query gets depends on neither its group nor the other groups.

use std::ops::Range;

use super::{Full, OperandRows, Worker};
use crate::attention::Segment;
use crate::cpu::panel::PANEL;
use crate::cpu::pool::SharedMut;
use crate::cpu::product::prepare;
use crate::cpu::share::Share;
use crate::cpu::softmax::{BlockScores, Softmax};
use crate::cpu::tile::{Kernel, TILE_ROWS};
use crate::cpu::words::Words;

/// Positions of a block: with heads of 256 numbers their keys and values take a quarter of a usual second-level cache
/// in bfloat16, and half of it in float32.
const BLOCK: usize = 4 * PANEL;

/// Queries of a group, those of each head counted.
const GROUP_QUERIES: usize = 32 * TILE_ROWS;

/// A thread's working memory, kept between calls.
#[derive(Default)]
pub(super) struct Scratch {
    /// `[query head][row][head_dim]`, and in the form of operands.
    queries: Vec<f32>,
    query_words: Words,
    /// Scores of one tile and block, then weights: `[row][position]`, and in the form of operands.
    scores: Vec<f32>,
    weight_words: Words,
    /// `[query head][row]`.
    softmax: Vec<Softmax>,
    /// `[query head][row][columns]`: sums of weighted values.
    sums: Vec<f32>,
}

/// Queries of some rows of a segment, of all heads of one K/V head.
struct Group<'a> {
    segment: &'a Segment,
    kv_head: usize,
    rows: Range<usize>,
    /// Keys and values of the K/V head.
    packed: &'a [u32],
}

/// Queries of one head, from `first` of the group's rows on.
struct TileRows {
    head: usize,
    first: usize,
    count: usize,
}

impl Full<'_> {
    /// Whether keys of the segment pass in blocks.
    pub(super) fn passes_in_blocks(&self, segment: &Segment) -> bool {
        self.window.longest(segment.len as usize) > self.strip_keys
    }

    /// Attends the share's groups of a segment, whose keys and values are `packed`.
    pub(super) fn attend_in_blocks(
        &self,
        segment: &Segment,
        packed: &[u32],
        share: &mut Share,
        worker: &mut Worker<'_>,
        out: &SharedMut<'_, f32>,
    ) {
        let len = segment.len as usize;
        let heads = self.shape.heads / self.shape.kv_heads;
        let step = (GROUP_QUERIES / heads).max(1).next_multiple_of(worker.kernel.rows());
        for (kv_head, packed) in packed.chunks_exact(self.packed_words(len)).enumerate() {
            let queries = self.queries.of(segment);
            for row in queries.clone().step_by(step) {
                let rows = row..queries.end.min(row + step);
                if share.takes(rows.len() * heads * len) {
                    self.attend_group(&Group { segment, kv_head, rows, packed }, worker, out);
                }
            }
        }
    }

    fn attend_group(&self, group: &Group<'_>, worker: &mut Worker<'_>, out: &SharedMut<'_, f32>) {
        let Worker { kernel, scratch } = worker;
        let scratch = &mut scratch.blocks;
        let heads = self.shape.heads / self.shape.kv_heads;
        let (dim, len) = (self.shape.head_dim, group.segment.len as usize);
        let columns = dim.next_multiple_of(PANEL);
        self.gather_queries(group, &mut scratch.queries);
        let queries = scratch.queries.len() / dim;
        scratch.softmax.clear();
        scratch.softmax.resize(queries, Softmax::START);
        scratch.sums.clear();
        scratch.sums.resize(queries * columns, 0.0);
        let Range { start, end } = self.visible(&group.rows, len);
        for start in (start / BLOCK * BLOCK..end).step_by(BLOCK) {
            let block = start..len.next_multiple_of(PANEL).min(start + BLOCK);
            for head in 0..heads {
                for first in (0..group.rows.len()).step_by(kernel.rows()) {
                    let count = kernel.rows().min(group.rows.len() - first);
                    self.add_block(kernel, group, &TileRows { head, first, count }, &block, scratch);
                }
            }
        }
        for (query, (softmax, sums)) in scratch.softmax.iter().zip(scratch.sums.chunks_exact_mut(columns)).enumerate() {
            let (head, row) = (query / group.rows.len(), group.rows.start + query % group.rows.len());
            let column = (group.kv_head * heads + head) * dim;
            softmax.finish(&mut sums[..dim]);
            self.write_head(
                out,
                (group.segment.start as usize + row) * self.shape.query_width() + column,
                &sums[..dim],
            );
        }
    }

    /// `[query head][row][head_dim]`.
    fn gather_queries(&self, group: &Group<'_>, queries: &mut Vec<f32>) {
        let heads = self.shape.heads / self.shape.kv_heads;
        let dim = self.shape.head_dim;
        queries.clear();
        for head in group.kv_head * heads..(group.kv_head + 1) * heads {
            for row in group.rows.clone() {
                let row = group.segment.start as usize + row;
                queries.extend_from_slice(&self.qkv[row * self.row_width() + head * dim..][..dim]);
            }
        }
    }

    /// Adds a block of keys and values to what the queries of a tile have seen.
    fn add_block(
        &self,
        kernel: &mut Kernel,
        group: &Group<'_>,
        tile: &TileRows,
        block: &Range<usize>,
        scratch: &mut Scratch,
    ) {
        let (dim, len) = (self.shape.head_dim, group.segment.len as usize);
        let columns = dim.next_multiple_of(PANEL);
        let clip = |seen: Range<usize>| seen.start.max(block.start)..seen.end.min(block.end);
        let first_row = group.rows.start + tile.first;
        let seen = clip(self.visible(&(first_row..first_row + tile.count), len));
        if seen.is_empty() {
            return;
        }
        let seen = seen.start / PANEL * PANEL..seen.end.next_multiple_of(PANEL);
        let (keys, values) = group.packed.split_at(self.key_words(len));
        let queries = tile.head * group.rows.len() + tile.first..;
        let queries = queries.start..queries.start + tile.count;
        let Scratch { queries: rows, query_words, scores, weight_words, softmax, sums } = scratch;
        let rows = &rows[queries.start * dim..queries.end * dim];
        let (words, stride) = prepare(self.isa, self.operands, rows, dim, query_words);
        // Every number is overwritten.
        scores.resize(tile.count * seen.len(), 0.0);
        self.score(kernel, OperandRows { words, stride, count: tile.count }, keys, &seen, scores);
        let sums = &mut sums[queries.start * columns..queries.end * columns];
        let states = softmax[queries].iter_mut().zip(sums.chunks_exact_mut(columns));
        for (index, ((state, sums), scores)) in states.zip(scores.chunks_exact_mut(seen.len())).enumerate() {
            let own = clip(self.window.visible(first_row + index, len));
            if own.is_empty() {
                scores.fill(0.0);
                continue;
            }
            let own = own.start - seen.start..own.end - seen.start;
            let (scale, cap) = (self.shape.scale, self.shape.softcap);
            let block = BlockScores { width: seen.len(), seen: own, scale, cap };
            Softmax::add_block(self.isa, &block, std::slice::from_mut(state), scores, &mut sums[..dim]);
        }
        let (words, stride) = prepare(self.isa, self.operands, scores, seen.len(), weight_words);
        self.combine(kernel, OperandRows { words, stride, count: tile.count }, values, seen.start, sums);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attention::{AttentionShape, QueryRows, Window};
    use crate::cpu::pool::Pool;
    use crate::cpu::tile::Operands;
    use crate::isa::Isa;

    /// Queries, keys and values of a batch, and how they are attended.
    struct Case {
        shape: AttentionShape,
        window: Window,
        lens: Vec<u32>,
        isa: Isa,
        operands: Operands,
    }

    impl Case {
        fn width(&self) -> usize {
            self.shape.query_width() + 2 * self.shape.kv_width()
        }

        /// Numbers between -2 and 2 in no order.
        fn qkv(&self) -> Vec<f32> {
            let numbers = self.lens.iter().sum::<u32>() as usize * self.width();
            (0..numbers as u32).map(|i| i.wrapping_mul(2_654_435_761) as f32 / (1_u64 << 30) as f32 - 2.0).collect()
        }

        fn attended(&self, qkv: &[f32], strip_keys: usize, threads: usize) -> Vec<f32> {
            let mut out = vec![f32::NAN; self.lens.iter().sum::<u32>() as usize * self.shape.query_width()];
            self.attend(qkv, QueryRows::ALL, strip_keys, threads, &mut out);
            out
        }

        fn attend(&self, qkv: &[f32], queries: QueryRows, strip_keys: usize, threads: usize, out: &mut [f32]) {
            let mut start = 0;
            let segments = self.lens.iter().map(|&len| {
                start += len;
                Segment { start: start - len, len }
            });
            let (segments, pool) = (segments.collect::<Vec<_>>(), Pool::new(threads));
            let Self { ref shape, window, isa, operands, .. } = *self;
            let (pool, segments) = (&pool, segments.as_slice());
            let full = Full { isa, pool, operands, shape, window, segments, queries, qkv, strip_keys };
            full.run(&mut Words::new(), out);
        }
    }

    fn cases() -> Vec<Case> {
        let shape = |heads, kv_heads, head_dim, softcap| {
            let scale = (head_dim as f32).powf(-0.5);
            AttentionShape { heads, kv_heads, head_dim, scale, softcap }
        };
        let windows = [
            Window::default(),
            Window { left: Some(300), right: Some(70) },
            Window { left: Some(2), right: Some(400) },
            Window::symmetric(Some(1)),
        ];
        let mut cases = Vec::new();
        for shape in [shape(4, 1, 256, None), shape(6, 3, 16, Some(9.0)), shape(3, 1, 80, None)] {
            for window in windows {
                for isa in Isa::all() {
                    let dots = isa.level().multiplies_bf16().then_some(Operands::Bf16);
                    for operands in dots.into_iter().chain([Operands::F32]) {
                        cases.push(Case { shape, window, lens: vec![257, 7, 590], isa, operands });
                    }
                }
            }
        }
        cases
    }

    #[test]
    fn blocks_give_what_strips_give() {
        for case in cases() {
            let qkv = case.qkv();
            let (blocks, strips) = (case.attended(&qkv, 0, 2), case.attended(&qkv, usize::MAX, 2));
            // Weights are rounded to bfloat16 relative to another number.
            let most = if case.operands == Operands::Bf16 { 4e-3 } else { 5e-6 };
            for (block, strip) in blocks.iter().zip(&strips) {
                assert!((block - strip).abs() <= most * 2.0, "{:?} {:?}: {block}, {strip}", case.shape, case.window);
            }
        }
    }

    #[test]
    fn a_segment_in_blocks_has_the_same_bits_alone_and_in_any_batch_on_any_number_of_threads() {
        for mut case in cases() {
            let qkv = case.qkv();
            let together = case.attended(&qkv, 0, 5);
            let (lens, mut row) = (std::mem::take(&mut case.lens), 0);
            for len in lens {
                let rows = row..row + len as usize;
                case.lens = vec![len];
                let alone = case.attended(&qkv[rows.start * case.width()..rows.end * case.width()], 0, 1);
                let width = case.shape.query_width();
                assert_eq!(alone, together[rows.start * width..rows.end * width], "{:?}", case.window);
                row = rows.end;
            }
        }
    }

    #[test]
    fn queries_in_parts_have_the_same_bits_as_all_together() {
        for case in cases() {
            let (qkv, width) = (case.qkv(), case.shape.query_width());
            for strip_keys in [0, usize::MAX] {
                let together = case.attended(&qkv, strip_keys, 2);
                let mut out = vec![f32::NAN; together.len()];
                for [start, end] in [[0, 100], [100, 259], [259, 260], [260, 700], [700, usize::MAX]] {
                    case.attend(&qkv, QueryRows { start, end }, strip_keys, 2, &mut out);
                    let unwanted = &out[end.min(out.len() / width) * width..];
                    assert!(unwanted.iter().all(|value| value.is_nan()), "rows past {end} are not written");
                }
                assert_eq!(out, together, "{:?}, {strip_keys}", case.window);
            }
        }
    }
}
