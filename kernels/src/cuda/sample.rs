//! Draws from rows of logits on the device.
//!
//! Called by the backend in `cuda`. `sample.cu` has the kernel; what a draw's parameters alone decide is computed here.

use bytemuck::NoUninit;

use super::activations::Activations;
use super::backend::Cuda;
use super::device::{Blocks, Device, NO_ADDRESS};
use super::memory::{Heap, Memory};
use super::rule::{LogitRows, NOTHING, RuledRows};
use crate::error::Result;
use crate::sampling::{self, Draws, RuleSpan, min_p_floor, uniform};

const THREADS: u32 = 512;
/// Bytes of `Chooser` in `select.cuh`.
pub(super) const CHOOSER_BYTES: usize = 256 * 8 + 4 * 16 * 8 + 16 * 4 + 8 + 8 + 1024 * 4;
/// Parts of all ids that are weighed by a block each.
const PARTS: usize = 8;
/// Banned ids that are compared with every id that is looked at: more than the end tokens of any usual model. Steps in
/// which these alone are banned launch the kernels of a step without rules, so no graph has to be recorded for them.
const MOST_PASSED_OVER: usize = 64;

#[derive(Clone, Copy, NoUninit)]
#[repr(C)]
struct Draw {
    top_p: f64,
    uniform: u64,
    min_weight: u64,
    row: u32,
    temperature: f32,
    top_k: u32,
    ruled: u32,
    banned_first: u32,
    banned: u32,
}

#[derive(Clone, Copy, NoUninit)]
#[repr(C)]
struct Sample {
    rows: LogitRows,
    draws: u64,
    banned: u64,
    out: u64,
    masses: u64,
}

impl Draw {
    /// Without a rule.
    fn new(draw: &sampling::Draw) -> Self {
        let sampling = &draw.sampling;
        Self {
            top_p: f64::from(sampling.top_p),
            uniform: uniform(draw),
            min_weight: min_p_floor(sampling.min_p),
            row: draw.row,
            temperature: sampling.temperature,
            top_k: sampling.top_k,
            ruled: NOTHING,
            banned_first: 0,
            banned: 0,
        }
    }

    /// A few banned ids are passed over in the row itself; any other rule takes a copy of the row.
    fn under_rule(draw: &sampling::Draw, draws: Draws<'_>, copied: &mut RuledRows<'_>) -> Self {
        let own = Self::new(draw);
        let Some(rule) = draw.rule else { return own };
        let RuleSpan { mask, edits, banned } = &draws.rules.spans()[rule.index()];
        if mask.is_none() && edits.is_empty() && banned.len() <= MOST_PASSED_OVER {
            return Self { banned_first: banned.start as u32, banned: banned.len() as u32, ..own };
        }
        Self { ruled: copied.add(draw.row, rule, 0), ..own }
    }

    /// Whether it looks at more than a few of the best ids, where these are known.
    const fn is_wide(&self) -> bool {
        self.temperature > 0.0 && self.top_k == 0 && self.banned == 0
    }
}

/// Ids that were drawn, on the device.
pub struct Drawn<D: Device> {
    memory: Memory<D>,
    /// Number of ids.
    len: usize,
    /// All ids, on their way to the host.
    fetch: Option<D::Fetch>,
}

impl<D: Device> Drawn<D> {
    pub(super) fn new(heap: &Heap<D>, capacity: usize) -> Result<Self> {
        Ok(Self { memory: Memory::new(heap, 4 * capacity, "drawn ids")?, len: 0, fetch: None })
    }

    /// Where the ids are, whether or not they were taken.
    pub(super) const fn address(&self) -> u64 {
        self.memory.address()
    }

    pub(super) const fn capacity(&self) -> usize {
        self.memory.bytes() / 4
    }

    /// Room for `count` more.
    fn extend(&mut self, count: usize) -> u64 {
        let address = self.memory.at(4 * self.len, 4 * count);
        self.len += count;
        address
    }
}

impl<D: Device> Cuda<D> {
    pub(super) fn draw(&self, logits: &Activations<D>, draws: Draws<'_>, out: &mut Drawn<D>) {
        let Some(last) = draws.list.iter().map(|draw| draw.row as usize).max() else { return };
        let mut copied = RuledRows::new(draws.rules);
        let told: Vec<Draw> = draws.list.iter().map(|draw| Draw::under_rule(draw, draws, &mut copied)).collect();
        copied.pad(told.len());
        let rows = self.apply_rules(logits, LogitRows::new(logits, last + 1), &copied, NO_ADDRESS);
        let [draws_at, banned] = self.queue().lists([bytemuck::cast_slice(&told), draws.rules.banned()]);
        // Wide draws are weighed part by part where the best of each tile is known.
        let knows_best = |draw: &Draw| logits.best_of_all() != NO_ADDRESS || draw.ruled != NOTHING;
        let wide_rows = told.iter().filter(|draw| draw.is_wide() && knows_best(draw)).count();
        let params = Sample {
            rows,
            draws: draws_at,
            banned,
            out: out.extend(told.len()),
            masses: if wide_rows > 0 { self.queue().partials(told.len() * PARTS * 8) } else { NO_ADDRESS },
        };
        let blocks = Blocks::per_row(told.len(), THREADS).with_shared(CHOOSER_BYTES);
        if wide_rows > 0 {
            self.queue().launch("weigh_parts", blocks.times(PARTS), &params);
            self.queue().moves(logits.bytes(wide_rows));
        }
        self.queue().launch("sample", blocks, &params);
        if logits.best_of_all() != NO_ADDRESS {
            // The best of each tile of every row; of wide draws the part as well that the draw falls into.
            self.queue().moves(logits.best_bytes(told.len()) + logits.bytes(wide_rows) / PARTS);
        }
    }

    pub(super) fn fetch_drawn(&self, drawn: &mut Drawn<D>) {
        if drawn.len > 0 {
            drawn.fetch = Some(self.queue().fetch(&drawn.memory, 4 * drawn.len));
        }
    }

    pub(super) fn take_drawn(&self, drawn: &mut Drawn<D>, out: &mut Vec<Option<u32>>) {
        if drawn.fetch.is_none() {
            self.fetch_drawn(drawn);
        }
        let bytes = drawn.fetch.take().map_or_else(Vec::new, |fetch| self.queue().device().finish(fetch));
        drawn.len = 0;
        let ids = bytes.as_chunks().0.iter().map(|id| u32::from_le_bytes(*id));
        out.extend(ids.map(|id| (id != NOTHING).then_some(id)));
    }
}
