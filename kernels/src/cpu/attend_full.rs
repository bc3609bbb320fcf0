//! Bidirectional attention inside ragged segments.
//!
//! Called by [`super::Cpu`]. Keys and values of each head are packed like weights, so that both products are
//! the tiles of `tile`; a few queries at a time keep a strip of scores in the cache, never a matrix. Where a query may
//! see more than [`crate::attention::STRIP_KEYS`], keys and values pass in blocks (`blocks`).
#![allow(unsafe_code)]

mod blocks;

use std::cell::RefCell;
use std::ops::Range;

use super::panel::PANEL;
use super::pool::{Pool, SharedMut};
use super::product::prepare;
use super::rows::weigh;
use super::share::Share;
use super::tile::{Kernel, MOST_ROWS, Operands, Tile};
use super::words::Words;
use crate::attention::{AttentionShape, QueryRows, Segment, Window};
use crate::isa::{Isa, for_each_isa};
use crate::math;

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// A thread's working memory, kept between calls.
#[derive(Default)]
struct Scratch {
    query: Vec<f32>,
    operands: Words,
    scores: Vec<f32>,
    output: Vec<f32>,
    blocks: blocks::Scratch,
}

/// Kernel and working memory of a thread during a call.
struct Worker<'a> {
    kernel: Kernel,
    scratch: &'a mut Scratch,
}

/// Rows in the form that tiles read them.
#[derive(Clone, Copy)]
struct OperandRows<'a> {
    words: &'a [u32],
    /// Words of a row.
    stride: usize,
    count: usize,
}

for_each_isa! {
    /// Rounds a key to bfloat16 and spreads its pairs over one lane of a panel.
    fn pack_key_pairs(key: &[f32], lane: usize, panel: &mut [u32]) {
        for (pair, panel) in key.chunks(2).zip(panel.as_chunks_mut::<PANEL>().0) {
            let odd = pair.get(1).map_or(0, |&odd| math::bf16_bits(odd));
            panel[lane] = u32::from(odd) << 16 | u32::from(math::bf16_bits(pair[0]));
        }
    }
}

for_each_isa! {
    /// Rounds a value to bfloat16 and puts it into one half of words whose half is zero.
    fn pack_value_half(value: &[f32], shift: usize, out: &mut [u32]) {
        for (out, &value) in out.iter_mut().zip(value) {
            *out |= u32::from(math::bf16_bits(value)) << shift;
        }
    }
}

/// One call's shapes and input.
pub(super) struct Full<'a> {
    pub isa: Isa,
    pub pool: &'a Pool,
    pub operands: Operands,
    pub shape: &'a AttentionShape,
    pub window: Window,
    pub segments: &'a [Segment],
    /// Rows whose output is wanted.
    pub queries: QueryRows,
    /// Rows `[q | k | v]`.
    pub qkv: &'a [f32],
    /// Most keys of a query whose scores stand in one strip.
    pub strip_keys: usize,
}

impl Full<'_> {
    /// Attends; `packed` is working memory for the keys and values of the whole batch.
    pub fn run(&self, packed: &mut Words, out: &mut [f32]) {
        let rows = self.segments.iter().fold(0, |start, segment| {
            assert_eq!(segment.start, start, "segments follow each other without gaps");
            start + segment.len
        });
        assert!(rows as usize * self.shape.query_width() <= out.len(), "segments end within the output");
        let words: usize = self.segments.iter().map(|s| self.packed_words(s.len as usize) * self.shape.kv_heads).sum();
        let packed = &mut packed.at_least(words)[..words];
        self.pack(packed);
        self.attend(packed, out);
    }

    fn row_width(&self) -> usize {
        self.shape.query_width() + 2 * self.shape.kv_width()
    }

    /// Words for `numbers` numbers along an input dimension.
    fn units(&self, numbers: usize) -> usize {
        if self.operands == Operands::Bf16 { numbers.div_ceil(2) } else { numbers }
    }

    fn key_words(&self, len: usize) -> usize {
        len.next_multiple_of(PANEL) * self.units(self.shape.head_dim)
    }

    fn packed_words(&self, len: usize) -> usize {
        let columns = self.shape.head_dim.next_multiple_of(PANEL);
        self.key_words(len) + self.units(len.next_multiple_of(PANEL)) * columns
    }

    fn pack(&self, packed: &mut [u32]) {
        let heads = self.shape.kv_heads;
        let total = self.segments.iter().map(|segment| self.seen_panels(segment).len()).sum::<usize>() * heads;
        let threads = self.pool.threads();
        let packed = SharedMut::new(packed);
        self.pool.run(&|thread| {
            let mut share = Share::new(thread, threads, total);
            let mut start = 0;
            for segment in self.segments {
                let words = self.packed_words(segment.len as usize);
                for head in 0..heads {
                    let panels = self.seen_panels(segment);
                    for panel in share.takes_of(panels.len(), 1) {
                        self.pack_panel(segment, head, panels.start + panel, start, &packed);
                    }
                    start += words;
                }
            }
        });
    }

    /// Panels of positions that the wanted queries of a segment see.
    fn seen_panels(&self, segment: &Segment) -> Range<usize> {
        let (queries, len) = (self.queries.of(segment), segment.len as usize);
        if queries.is_empty() {
            return 0..0;
        }
        let seen = self.visible(&queries, len);
        seen.start / PANEL..seen.end.div_ceil(PANEL)
    }

    /// Positions that any of these queries, at least one, of a segment of `len` sees: from the first one's first to
    /// the last one's last.
    fn visible(&self, queries: &Range<usize>, len: usize) -> Range<usize> {
        self.window.visible(queries.start, len).start..self.window.visible(queries.end - 1, len).end
    }

    /// The keys of a panel of positions as a panel of lanes over head_dim, and its values as a part of each panel of
    /// columns over positions. Those of the head begin at word `start`.
    fn pack_panel(&self, segment: &Segment, head: usize, panel: usize, start: usize, packed: &SharedMut<'_, u32>) {
        let dim = self.shape.head_dim;
        let len = segment.len as usize;
        let key_column = self.shape.query_width() + head * dim;
        let paired = self.operands == Operands::Bf16;
        let (key_words, value_words) = (self.units(dim) * PANEL, self.units(PANEL) * PANEL);
        let value_units = self.units(len.next_multiple_of(PANEL));
        let first_key = start + panel * key_words;
        let first_value = start + self.key_words(len) + panel * value_words;
        // SAFETY: each panel of positions of each head of each segment has its own stretches.
        let part = |first: usize, words: usize| unsafe { packed.slice(first..first + words) };
        // Positions past the end stay zero: their weights are zero, and zero times stale noise must not be NaN.
        let keys = part(first_key, key_words);
        keys.fill(0);
        for column in (0..dim).step_by(PANEL) {
            part(first_value + column * value_units, value_words).fill(0);
        }
        for position in panel * PANEL..len.min((panel + 1) * PANEL) {
            let row = &self.qkv[(segment.start as usize + position) * self.row_width()..][..self.row_width()];
            let key = &row[key_column..][..dim];
            let value = &row[key_column + self.shape.kv_width()..][..dim];
            let lane = position % PANEL;
            if paired {
                pack_key_pairs(self.isa, key, lane, keys);
            } else {
                key.iter().enumerate().for_each(|(unit, key)| keys[unit * PANEL + lane] = key.to_bits());
            }
            let unit = if paired { lane / 2 } else { lane };
            for (columns, value) in value.chunks(PANEL).enumerate() {
                let out = part(first_value + (columns * value_units + unit) * PANEL, PANEL);
                let out = &mut out[..value.len()];
                if paired {
                    pack_value_half(self.isa, value, 16 * (position % 2), out);
                } else {
                    out.iter_mut().zip(value).for_each(|(out, value)| *out = value.to_bits());
                }
            }
        }
    }

    fn attend(&self, packed: &[u32], out: &mut [f32]) {
        let heads = self.shape.heads;
        let group = heads / self.shape.kv_heads;
        let cost = |segment: &Segment| self.queries.of(segment).len() * segment.len as usize * heads;
        let total: usize = self.segments.iter().map(cost).sum();
        let threads = self.pool.threads();
        let out = SharedMut::new(out);
        self.pool.run(&|thread| {
            let mut share = Share::new(thread, threads, total);
            SCRATCH.with_borrow_mut(|scratch| {
                // Sums over positions take whole panels of them, which every kernel does.
                let kernel = Kernel::new(self.isa, self.operands, self.units(self.shape.head_dim));
                let mut worker = Worker { kernel, scratch };
                let tile_rows = worker.kernel.rows();
                let mut start = 0;
                for segment in self.segments {
                    let words = self.packed_words(segment.len as usize);
                    if self.passes_in_blocks(segment) {
                        let packed = &packed[start..start + words * self.shape.kv_heads];
                        self.attend_in_blocks(segment, packed, &mut share, &mut worker, &out);
                        start += packed.len();
                        continue;
                    }
                    for head in 0..heads {
                        let packed = &packed[start + head / group * words..][..words];
                        let queries = self.queries.of(segment);
                        for row in queries.clone().step_by(tile_rows) {
                            let block = row..queries.end.min(row + tile_rows);
                            if share.takes(block.len() * segment.len as usize) {
                                self.attend_block(segment, head, block, packed, &mut worker, &out);
                            }
                        }
                    }
                    start += words * self.shape.kv_heads;
                }
            });
        });
    }

    fn attend_block(
        &self,
        segment: &Segment,
        head: usize,
        block: Range<usize>,
        packed: &[u32],
        Worker { kernel, scratch }: &mut Worker<'_>,
        out: &SharedMut<'_, f32>,
    ) {
        let dim = self.shape.head_dim;
        let len = segment.len as usize;
        let first_row = segment.start as usize;
        scratch.query.clear();
        for row in block.clone() {
            scratch.query.extend_from_slice(&self.qkv[(first_row + row) * self.row_width() + head * dim..][..dim]);
        }
        let seen = self.visible(&block, len);
        let seen = seen.start / PANEL * PANEL..seen.end.next_multiple_of(PANEL);
        let (keys, values) = packed.split_at(self.key_words(len));
        // Every number is overwritten.
        scratch.scores.resize(block.len() * seen.len(), 0.0);
        let (words, stride) = prepare(self.isa, self.operands, &scratch.query, dim, &mut scratch.operands);
        self.score(kernel, OperandRows { words, stride, count: block.len() }, keys, &seen, &mut scratch.scores);
        let mut sums = [0.0; MOST_ROWS];
        for ((query, sum), scores) in block.clone().zip(&mut sums).zip(scratch.scores.chunks_exact_mut(seen.len())) {
            let visible = self.window.visible(query, len);
            let visible = visible.start - seen.start..visible.end - seen.start;
            scores[..visible.start].fill(0.0);
            scores[visible.end..].fill(0.0);
            *sum = weigh(self.isa, &mut scores[visible], self.shape.scale, self.shape.softcap);
        }
        let columns = dim.next_multiple_of(PANEL);
        scratch.output.clear();
        scratch.output.resize(block.len() * columns, 0.0);
        let (words, stride) = prepare(self.isa, self.operands, &scratch.scores, seen.len(), &mut scratch.operands);
        let rows = OperandRows { words, stride, count: block.len() };
        self.combine(kernel, rows, values, seen.start, &mut scratch.output);
        for ((row, sum), output) in block.zip(sums).zip(scratch.output.chunks_exact_mut(columns)) {
            let start = (first_row + row) * self.shape.query_width() + head * dim;
            output[..dim].iter_mut().for_each(|value| *value /= sum);
            self.write_head(out, start, &output[..dim]);
        }
    }

    /// Writes the output of a head of a row of the share, from number `start` on.
    fn write_head(&self, out: &SharedMut<'_, f32>, start: usize, values: &[f32]) {
        debug_assert!(start.is_multiple_of(self.shape.head_dim) && values.len() == self.shape.head_dim, "a whole head");
        // SAFETY: this thread alone owns this head of this row.
        unsafe { out.slice(start..start + values.len()) }.copy_from_slice(values);
    }

    /// `scores[row][key] = query . key` for the panels in `seen`.
    fn score(
        &self,
        kernel: &mut Kernel,
        queries: OperandRows<'_>,
        keys: &[u32],
        seen: &Range<usize>,
        scores: &mut [f32],
    ) {
        let units = self.units(self.shape.head_dim);
        assert!(scores.len() >= queries.count * seen.len() && queries.words.len() >= queries.count * queries.stride);
        for position in seen.clone().step_by(PANEL) {
            let tile = Tile {
                x: queries.words.as_ptr(),
                x_stride: queries.stride,
                rows: queries.count,
                panel: keys[position * units..][..PANEL * units].as_ptr(),
                units,
                out: scores[position - seen.start..].as_mut_ptr(),
                out_stride: seen.len(),
                adds: false,
                streams: false,
            };
            // SAFETY: operands hold the rows, the panel is in range, and the strip has whole panels.
            unsafe { kernel.run(&tile) };
        }
    }

    /// `output[row] += weights[row] . values` over the positions from `first` on, a whole number of panels.
    fn combine(&self, kernel: &mut Kernel, weights: OperandRows<'_>, values: &[u32], first: usize, output: &mut [f32]) {
        let columns = self.shape.head_dim.next_multiple_of(PANEL);
        let value_units = values.len() / columns;
        assert!(output.len() >= weights.count * columns && weights.words.len() >= weights.count * weights.stride);
        for column in (0..columns).step_by(PANEL) {
            let start = column * value_units + self.units(first) * PANEL;
            let tile = Tile {
                x: weights.words.as_ptr(),
                x_stride: weights.stride,
                rows: weights.count,
                panel: values[start..][..weights.stride * PANEL].as_ptr(),
                units: weights.stride,
                out: output[column..].as_mut_ptr(),
                out_stride: columns,
                adds: true,
                streams: false,
            };
            // SAFETY: operands hold the rows, `values` the panel, and `output` has whole panels of columns.
            unsafe { kernel.run(&tile) };
        }
    }
}
