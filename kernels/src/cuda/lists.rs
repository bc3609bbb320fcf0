//! Lists of numbers that ops read on the device: ids, positions, pages.
//!
//! Owned by a queue. Outside a step each op's lists follow in the same place. In a step each list has a place of its own, the
//! first list the first place and so on, so that it lies where it lay in the step before; a list that several ops read is there
//! once.

use super::device::Device;
use super::memory::{Heap, Memory};
use super::queue::grown;
use crate::backend::Result;

/// Words of the first memory for the lists of steps: those of most.
const CHUNK_WORDS: usize = 1 << 18;
/// Words that a place has at least; places begin at multiples of it.
const PLACE_WORDS: usize = 64;
/// Lists of one op begin at multiples of so many words.
const ALIGNED_WORDS: usize = 4;

pub(super) struct Lists<D: Device> {
    /// Of the op that is launched outside a step.
    prompt: Memory<D>,
    /// Of steps.
    chunks: Vec<Chunk<D>>,
    places: Vec<Place>,
    /// Places that the step has filled.
    filled: usize,
}

/// Memory with what is to be copied to it.
struct Chunk<D: Device> {
    memory: Memory<D>,
    words: Vec<u32>,
    /// Words that belong to places.
    taken: usize,
    /// Words that the step has filled, from the first to the last.
    used: usize,
}

#[derive(Clone, Copy)]
struct Place {
    chunk: usize,
    offset: usize,
    capacity: usize,
    len: usize,
    /// Where the host had the list: two that are equal by chance are two.
    origin: usize,
}

impl<D: Device> Lists<D> {
    pub(super) fn new(heap: &Heap<D>) -> Result<Self> {
        let prompt = Memory::new(heap, 1 << 16, "lists")?;
        Ok(Self { prompt, chunks: Vec::new(), places: Vec::new(), filled: 0 })
    }

    /// Lists outside a step: what to copy where, and where each will be.
    pub(super) fn pack<const N: usize>(&mut self, heap: &Heap<D>, lists: [&[u32]; N]) -> (Vec<u32>, u64, [u64; N]) {
        let mut words: Vec<u32> = Vec::new();
        let offsets = lists.map(|list| {
            words.resize(words.len().next_multiple_of(ALIGNED_WORDS), 0);
            let offset = words.len();
            words.extend(list);
            4 * offset as u64
        });
        if self.prompt.bytes() < 4 * words.len() {
            self.prompt = grown(heap, 4 * words.len(), "lists");
        }
        let address = self.prompt.address();
        (words, address, offsets.map(|offset| address + offset))
    }

    /// A step begins.
    pub(super) fn begin(&mut self) {
        self.filled = 0;
        self.chunks.iter_mut().for_each(|chunk| chunk.used = 0);
    }

    /// Where a list of the step will be.
    pub(super) fn place(&mut self, heap: &Heap<D>, list: &[u32]) -> u64 {
        let same = self.places[..self.filled].iter().find(|place| self.holds(place, list));
        if let Some(place) = same {
            return self.address(place);
        }
        if self.places.get(self.filled).is_none_or(|place| place.capacity < list.len()) {
            let place = self.take(heap, list.len().next_power_of_two().max(PLACE_WORDS));
            match self.places.get_mut(self.filled) {
                // The smaller place stays unused: capacities double, so that is soon over.
                Some(smaller) => *smaller = place,
                None => self.places.push(place),
            }
        }
        let place = &mut self.places[self.filled];
        (place.len, place.origin) = (list.len(), list.as_ptr().addr());
        let chunk = &mut self.chunks[place.chunk];
        chunk.words[place.offset..][..list.len()].copy_from_slice(list);
        chunk.used = chunk.used.max(place.offset + list.len());
        self.filled += 1;
        self.address(&self.places[self.filled - 1])
    }

    /// What the step has to copy where.
    pub(super) fn end(&self) -> impl Iterator<Item = (&[u32], u64)> {
        let filled = self.chunks.iter().filter(|chunk| chunk.used > 0);
        filled.map(|chunk| (&chunk.words[..chunk.used], chunk.memory.at(0, 4 * chunk.used)))
    }

    fn take(&mut self, heap: &Heap<D>, capacity: usize) -> Place {
        let fits = |chunk: &Chunk<D>| chunk.taken + capacity <= chunk.words.len();
        if !self.chunks.last().is_some_and(fits) {
            let memory = grown(heap, 4 * CHUNK_WORDS.max(2 * capacity), "lists");
            self.chunks.push(Chunk { words: vec![0; memory.bytes() / 4], memory, taken: 0, used: 0 });
        }
        let chunk = self.chunks.len() - 1;
        let offset = self.chunks[chunk].taken;
        self.chunks[chunk].taken += capacity;
        Place { chunk, offset, capacity, len: 0, origin: 0 }
    }

    fn holds(&self, place: &Place, list: &[u32]) -> bool {
        place.origin == list.as_ptr().addr() && self.chunks[place.chunk].words[place.offset..][..place.len] == *list
    }

    fn address(&self, place: &Place) -> u64 {
        self.chunks[place.chunk].memory.address() + 4 * place.offset as u64
    }
}
