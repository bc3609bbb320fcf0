//! Draws from rows of logits on the device.
//!
//! Called by the backend in `cuda`. `sample.cu` has the kernel; what a draw's parameters alone decide is computed here.

use bytemuck::NoUninit;

use super::activations::Activations;
use super::backend::Cuda;
use super::device::{Blocks, Device, NO_ADDRESS};
use super::memory::{Heap, Memory};
use super::number::Number;
use crate::backend::{self, Result};
use crate::sampling::{min_p_floor, uniform};

const THREADS: u32 = 512;
/// Bytes of `Chooser` in `select.cuh`.
pub(super) const CHOOSER_BYTES: usize = 256 * 8 + 4 * 16 * 8 + 16 * 4 + 8 + 8 + 1024 * 4;
/// Parts of all ids that are weighed by a block each.
const PARTS: usize = 8;
/// What the kernel writes where logits are not numbers.
const NOTHING: u32 = u32::MAX;

#[derive(Clone, Copy, NoUninit)]
#[repr(C)]
struct Draw {
    top_p: f64,
    uniform: u64,
    min_weight: u64,
    row: u32,
    temperature: f32,
    top_k: u32,
    forbid_end: u32,
}

#[derive(Clone, Copy, NoUninit)]
#[repr(C)]
struct Sample {
    logits: u64,
    draws: u64,
    end_ids: u64,
    out: u64,
    best: u64,
    masses: u64,
    pitch: u32,
    vocab: u32,
    end_count: u32,
    unused: u32,
}

impl Draw {
    fn new(draw: &backend::Draw) -> Self {
        let sampling = &draw.choice.sampling;
        Self {
            top_p: f64::from(sampling.top_p),
            uniform: uniform(&draw.choice),
            min_weight: min_p_floor(sampling.min_p),
            row: draw.row,
            temperature: sampling.temperature,
            top_k: sampling.top_k,
            forbid_end: u32::from(draw.choice.forbid_end),
        }
    }
}

/// Ids that were drawn, on the device.
pub struct Drawn<D: Device> {
    memory: Memory<D>,
    /// How many there are.
    len: usize,
    /// All of them, on their way to the host.
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
    pub(super) fn draw(&self, logits: &Activations<D>, draws: backend::Draws<'_>, out: &mut Drawn<D>) {
        let backend::Draws { draws, end_ids } = draws;
        let Some(last) = draws.iter().map(|draw| draw.row as usize).max() else { return };
        let told: Vec<Draw> = draws.iter().map(Draw::new).collect();
        let [draws_at, end_ids_at] = self.queue().lists([bytemuck::cast_slice(&told), end_ids]);
        // Those that look at more than a few of the best ids, where the product left the best.
        let is_wide = |draw: &Draw| draw.temperature > 0.0 && draw.top_k == 0 && draw.forbid_end == 0;
        let wide_rows = told.iter().filter(|draw| is_wide(draw)).count();
        let weighs = logits.best_of_all() != NO_ADDRESS && wide_rows > 0;
        let params = Sample {
            logits: logits.rows(0, last + 1, Number::F32),
            draws: draws_at,
            end_ids: end_ids_at,
            out: out.extend(draws.len()),
            best: logits.best_of_all(),
            masses: if weighs { self.queue().partials(draws.len() * PARTS * 8) } else { NO_ADDRESS },
            pitch: logits.pitch as u32,
            vocab: logits.width as u32,
            end_count: end_ids.len() as u32,
            unused: 0,
        };
        let blocks = Blocks::per_row(draws.len(), THREADS).with_shared(CHOOSER_BYTES);
        if weighs {
            self.queue().launch("weigh_parts", blocks.times(PARTS), &params);
            self.queue().moves(logits.bytes(wide_rows));
        }
        self.queue().launch("sample", blocks, &params);
        if logits.best_of_all() != NO_ADDRESS {
            // Of logits at least that much: of draws from all ids, the part that one falls into; of others, the best tiles only.
            self.queue().moves(logits.best_bytes(draws.len()) + logits.bytes(wide_rows) / PARTS);
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
