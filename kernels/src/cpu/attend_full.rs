//! Bidirectional attention inside ragged segments.
//!
//! Called by [`super::Cpu`]. Keys and values of each head are packed like weights, so that both products are
//! the tiles of `tile`; six queries at a time keep one strip of scores in the cache, never a matrix.
#![allow(unsafe_code)]

use std::cell::RefCell;
use std::ops::Range;

use super::panel::PANEL;
use super::pool::{Pool, SharedMut};
use super::product::prepare;
use super::rows::weigh;
use super::share::Share;
use super::tile::{self, Operands, TILE_ROWS, Tile};
use crate::attention::{AttentionShape, Segment, Window};
use crate::isa::{Isa, for_each_isa};
use crate::math;

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// A thread's working memory, kept between calls.
#[derive(Default)]
struct Scratch {
    query: Vec<f32>,
    operands: Vec<u32>,
    scores: Vec<f32>,
    output: Vec<f32>,
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
    /// Rows `[q | k | v]`.
    pub qkv: &'a [f32],
}

impl Full<'_> {
    /// Attends; `packed` is working memory for the keys and values of the whole batch.
    pub fn run(&self, packed: &mut Vec<u32>, out: &mut [f32]) {
        let rows = self.segments.iter().fold(0, |start, segment| {
            assert_eq!(segment.start, start, "segments follow each other without gaps");
            start + segment.len
        });
        assert!(rows as usize * self.shape.query_width() <= out.len(), "segments end within the output");
        let words: usize = self.segments.iter().map(|s| self.packed_words(s.len as usize) * self.shape.kv_heads).sum();
        if packed.len() < words {
            packed.resize(words, 0);
        }
        self.pack(&mut packed[..words]);
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
        let total: usize = self.segments.iter().map(|s| s.len as usize * heads).sum();
        let threads = self.pool.threads();
        let packed = SharedMut::new(packed);
        self.pool.run(&|thread| {
            let mut share = Share::new(thread, threads, total);
            let mut start = 0;
            for segment in self.segments {
                let words = self.packed_words(segment.len as usize);
                for head in 0..heads {
                    if share.takes(segment.len as usize) {
                        // SAFETY: each head of each segment has its own stretch.
                        self.pack_head(segment, head, unsafe { packed.slice(start..start + words) });
                    }
                    start += words;
                }
            }
        });
    }

    /// Keys as panels of 64 positions over head_dim, then values as panels of 64 columns over positions.
    fn pack_head(&self, segment: &Segment, head: usize, packed: &mut [u32]) {
        let dim = self.shape.head_dim;
        let len = segment.len as usize;
        let (keys, values) = packed.split_at_mut(self.key_words(len));
        let key_column = self.shape.query_width() + head * dim;
        let paired = self.operands == Operands::Bf16;
        // Positions past the end stay zero: their weights are zero, and zero times stale noise must not be NaN.
        keys.fill(0);
        values.fill(0);
        let value_units = self.units(len.next_multiple_of(PANEL));
        for position in 0..len {
            let row = &self.qkv[(segment.start as usize + position) * self.row_width()..][..self.row_width()];
            let key = &row[key_column..][..dim];
            let value = &row[key_column + self.shape.kv_width()..][..dim];
            let panel = &mut keys[position / PANEL * self.units(dim) * PANEL..];
            let lane = position % PANEL;
            if paired {
                pack_key_pairs(self.isa, key, lane, panel);
            } else {
                key.iter().enumerate().for_each(|(unit, key)| panel[unit * PANEL + lane] = key.to_bits());
            }
            let unit = if paired { position / 2 } else { position };
            for (columns, value) in value.chunks(PANEL).enumerate() {
                let out = &mut values[(columns * value_units + unit) * PANEL..][..value.len()];
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
        let total: usize = self.segments.iter().map(|s| s.len as usize * s.len as usize * heads).sum();
        let threads = self.pool.threads();
        let out = SharedMut::new(out);
        self.pool.run(&|thread| {
            let mut share = Share::new(thread, threads, total);
            SCRATCH.with_borrow_mut(|scratch| {
                let mut start = 0;
                for segment in self.segments {
                    let words = self.packed_words(segment.len as usize);
                    for head in 0..heads {
                        let packed = &packed[start + head / group * words..][..words];
                        for row in (0..segment.len as usize).step_by(TILE_ROWS) {
                            let block = row..(segment.len as usize).min(row + TILE_ROWS);
                            if share.takes(block.len() * segment.len as usize) {
                                self.attend_block(segment, head, block, packed, scratch, &out);
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
        scratch: &mut Scratch,
        out: &SharedMut<'_, f32>,
    ) {
        let dim = self.shape.head_dim;
        let len = segment.len as usize;
        let first_row = segment.start as usize;
        scratch.query.clear();
        for row in block.clone() {
            scratch.query.extend_from_slice(&self.qkv[(first_row + row) * self.row_width() + head * dim..][..dim]);
        }
        let seen = self.window.visible(block.start, len).start / PANEL * PANEL
            ..self.window.visible(block.end - 1, len).end.next_multiple_of(PANEL);
        let (keys, values) = packed.split_at(self.key_words(len));
        self.score(keys, &seen, block.len(), scratch);
        let mut sums = [0.0; TILE_ROWS];
        for ((query, sum), scores) in block.clone().zip(&mut sums).zip(scratch.scores.chunks_exact_mut(seen.len())) {
            let visible = self.window.visible(query, len);
            let visible = visible.start - seen.start..visible.end - seen.start;
            scores[..visible.start].fill(0.0);
            scores[visible.end..].fill(0.0);
            *sum = weigh(self.isa, &mut scores[visible], self.shape.scale, self.shape.softcap);
        }
        self.combine(values, &seen, block.len(), scratch);
        let columns = dim.next_multiple_of(PANEL);
        for ((row, sum), output) in block.zip(sums).zip(scratch.output.chunks_exact(columns)) {
            let start = (first_row + row) * self.shape.query_width() + head * dim;
            // SAFETY: this thread alone owns this head of this row.
            let out = unsafe { out.slice(start..start + dim) };
            out.iter_mut().zip(output).for_each(|(out, value)| *out = value / sum);
        }
    }

    /// `scores[row][key] = query . key` for the panels in `seen`.
    fn score(&self, keys: &[u32], seen: &Range<usize>, rows: usize, scratch: &mut Scratch) {
        let dim = self.shape.head_dim;
        let (x, x_stride) = prepare(self.isa, self.operands, &scratch.query, dim, &mut scratch.operands);
        // Every number is overwritten.
        scratch.scores.resize(rows * seen.len(), 0.0);
        let units = self.units(dim);
        for position in seen.clone().step_by(PANEL) {
            let tile = Tile {
                x: x.as_ptr(),
                x_stride,
                rows,
                panel: keys[position * units..][..PANEL * units].as_ptr(),
                units,
                out: scratch.scores[position - seen.start..].as_mut_ptr(),
                out_stride: seen.len(),
            };
            // SAFETY: operands hold `rows` rows, the panel is in range, and the strip has whole panels.
            unsafe { tile::run(self.isa, self.operands, &tile) };
        }
    }

    /// `output[row] = weights[row] . values` over the positions in `seen`.
    fn combine(&self, values: &[u32], seen: &Range<usize>, rows: usize, scratch: &mut Scratch) {
        let columns = self.shape.head_dim.next_multiple_of(PANEL);
        scratch.output.resize(rows * columns, 0.0);
        let (x, x_stride) = prepare(self.isa, self.operands, &scratch.scores, seen.len(), &mut scratch.operands);
        let value_units = values.len() / columns;
        for column in (0..columns).step_by(PANEL) {
            let start = column * value_units + self.units(seen.start) * PANEL;
            let tile = Tile {
                x: x.as_ptr(),
                x_stride,
                rows,
                panel: values[start..][..x_stride * PANEL].as_ptr(),
                units: x_stride,
                out: scratch.output[column..].as_mut_ptr(),
                out_stride: columns,
            };
            // SAFETY: `x` holds the rows, `values` the panel, and `output` has whole panels of columns.
            unsafe { tile::run(self.isa, self.operands, &tile) };
        }
    }
}
