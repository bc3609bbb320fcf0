//! Lists of numbers that ops read on the device: ids, positions, pages.
//!
//! Owned by a queue. Outside a step, the lists of each op are packed into the same memory. Within a step every list has
//! a slot of its own: the n-th list of every step lies in the n-th slot, so addresses repeat from step to step. A list
//! that several ops read is stored once.

use super::device::Device;
use super::memory::{Heap, Memory};
use crate::backend::Result;

/// Words of the first chunk: enough for the lists of most steps.
const CHUNK_WORDS: usize = 1 << 18;
/// Least words of a slot; slots begin at multiples of it.
const SLOT_WORDS: usize = 64;
/// Lists of one op outside a step begin at multiples of this many words.
const ALIGNED_WORDS: usize = 4;

/// Memory for the lists of one queue.
pub(super) struct Lists<D: Device> {
    /// Lists of the latest op outside a step.
    prompt: Memory<D>,
    /// Memory of the slots.
    chunks: Vec<Chunk<D>>,
    slots: Vec<Slot>,
    /// Slots that the current step has filled.
    filled: usize,
}

/// Memory on the device, with the words on the host that are copied to it.
struct Chunk<D: Device> {
    memory: Memory<D>,
    words: Vec<u32>,
    /// Words that belong to slots.
    taken: usize,
    /// Words up to the end of the last slot that the current step has filled.
    used: usize,
}

/// Where the n-th list of every step lies.
#[derive(Clone, Copy)]
struct Slot {
    chunk: usize,
    /// First word in the chunk.
    offset: usize,
    /// Words that fit.
    capacity: usize,
    /// Words of the list that fills it now.
    len: usize,
    /// Address of that list on the host: lists that are equal by chance stay two lists.
    origin: usize,
}

/// Lists of one op outside a step, packed for one copy.
pub(super) struct PackedLists<const N: usize> {
    /// Words to be copied.
    pub words: Vec<u32>,
    /// Where to copy them.
    pub address: u64,
    /// Where each list will be.
    pub lists: [u64; N],
}

impl<D: Device> Lists<D> {
    pub(super) fn new(heap: &Heap<D>) -> Result<Self> {
        let prompt = Memory::new(heap, 1 << 16, "lists")?;
        Ok(Self { prompt, chunks: Vec::new(), slots: Vec::new(), filled: 0 })
    }

    /// Packs the lists of an op outside a step.
    pub(super) fn pack<const N: usize>(&mut self, lists: [&[u32]; N]) -> PackedLists<N> {
        let mut words: Vec<u32> = Vec::new();
        let offsets = lists.map(|list| {
            words.resize(words.len().next_multiple_of(ALIGNED_WORDS), 0);
            let offset = words.len();
            words.extend(list);
            4 * offset as u64
        });
        self.prompt.grow(4 * words.len(), "lists");
        let address = self.prompt.address();
        PackedLists { words, address, lists: offsets.map(|offset| address + offset) }
    }

    /// Begins a step: all slots are free.
    pub(super) fn begin(&mut self) {
        self.filled = 0;
        self.chunks.iter_mut().for_each(|chunk| chunk.used = 0);
    }

    /// Puts a list of the step into a slot and returns its address on the device.
    pub(super) fn add(&mut self, heap: &Heap<D>, list: &[u32]) -> u64 {
        let same = self.slots[..self.filled].iter().find(|slot| self.holds(slot, list));
        if let Some(slot) = same {
            return self.address(slot);
        }
        if self.slots.get(self.filled).is_none_or(|slot| slot.capacity < list.len()) {
            let slot = self.take(heap, list.len().next_power_of_two().max(SLOT_WORDS));
            match self.slots.get_mut(self.filled) {
                // The smaller slot stays unused: capacities double, so that is soon over.
                Some(smaller) => *smaller = slot,
                None => self.slots.push(slot),
            }
        }
        let slot = &mut self.slots[self.filled];
        (slot.len, slot.origin) = (list.len(), list.as_ptr().addr());
        let chunk = &mut self.chunks[slot.chunk];
        chunk.words[slot.offset..][..list.len()].copy_from_slice(list);
        chunk.used = chunk.used.max(slot.offset + list.len());
        self.filled += 1;
        self.address(&self.slots[self.filled - 1])
    }

    /// Words that the step has to copy, each stretch with its address.
    pub(super) fn copies(&self) -> impl Iterator<Item = (&[u32], u64)> {
        let filled = self.chunks.iter().filter(|chunk| chunk.used > 0);
        filled.map(|chunk| (&chunk.words[..chunk.used], chunk.memory.at(0, 4 * chunk.used)))
    }

    fn take(&mut self, heap: &Heap<D>, capacity: usize) -> Slot {
        let fits = |chunk: &Chunk<D>| chunk.taken + capacity <= chunk.words.len();
        if !self.chunks.last().is_some_and(fits) {
            let memory = Memory::required(heap, 4 * CHUNK_WORDS.max(2 * capacity), "lists");
            self.chunks.push(Chunk { words: vec![0; memory.bytes() / 4], memory, taken: 0, used: 0 });
        }
        let chunk = self.chunks.len() - 1;
        let offset = self.chunks[chunk].taken;
        self.chunks[chunk].taken += capacity;
        Slot { chunk, offset, capacity, len: 0, origin: 0 }
    }

    fn holds(&self, slot: &Slot, list: &[u32]) -> bool {
        slot.origin == list.as_ptr().addr() && self.chunks[slot.chunk].words[slot.offset..][..slot.len] == *list
    }

    fn address(&self, slot: &Slot) -> u64 {
        self.chunks[slot.chunk].memory.address() + 4 * slot.offset as u64
    }
}
