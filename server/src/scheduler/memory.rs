//! The page pool together with the sources that live in it and the encoder's queue.
//!
//! Called by the scheduler. Sources take, share and return pages only here.

use super::encoder_queue::EncoderQueue;
use super::limits::SchedulerLimits;
use super::page_pool::{PageId, PagePool};
use super::pool_size::PoolSize;
use super::source::{Source, SourceKey, SourceSlot};
use super::source_cache::SourceCache;
use crate::request::Priority;

/// Pages and sources.
#[derive(Debug)]
pub struct Memory {
    /// All pages.
    pub pool: PagePool,
    /// Sources that have pages.
    pub sources: SourceCache,
    /// Sources that are still to be encoded.
    pub encoder: EncoderQueue,
    size: PoolSize,
}

impl Memory {
    /// All pages are free.
    pub fn new(limits: &SchedulerLimits) -> Self {
        Self {
            pool: PagePool::new(limits.pool),
            sources: SourceCache::default(),
            encoder: EncoderQueue::new(limits),
            size: limits.pool,
        }
    }

    /// Number of pages that a source takes.
    pub fn source_pages(&self, key: &SourceKey) -> usize {
        self.size.source_pages(key.tokens())
    }

    /// Number of pages that can be had without taking any from a sequence.
    pub const fn available(&self) -> usize {
        self.pool.free() + self.sources.idle_pages()
    }

    /// Number of pages that can be had without evicting this source or taking any from a sequence.
    pub fn available_beside(&self, source: Option<SourceSlot>) -> usize {
        let own = source.map(|slot| self.sources.get(slot)).filter(|source| source.is_idle());
        self.available() - own.map_or(0, |source| source.pages().len())
    }

    /// Moves free pages to the end of `into`, and evicts idle sources as long as too few are free.
    ///
    /// # Panics
    /// When fewer are [`Self::available`].
    pub fn take(&mut self, count: usize, into: &mut Vec<PageId>) {
        while self.pool.free() < count {
            let evicted = self.sources.evict_least_recently_used();
            self.pool.release(evicted.expect("the caller saw to it that enough pages are available").pages());
        }
        self.pool.take(count, into);
    }

    /// Gives a source its pages and queues it for the encoder; an empty one is ready at once. The caller holds it.
    pub fn place(&mut self, key: &SourceKey, priority: Priority) -> SourceSlot {
        let count = self.source_pages(key);
        let mut pages = Vec::with_capacity(count);
        self.take(count, &mut pages);
        self.pool.retain(&pages);
        let slot = self.sources.insert(key.clone(), pages);
        if key.tokens() == 0 {
            self.sources.get_mut(slot).mark_ready();
        } else {
            self.encoder.push(slot, key.tokens(), priority);
        }
        slot
    }

    /// Adds a sequence that holds the source.
    pub fn hold(&mut self, slot: SourceSlot) {
        self.sources.set_held(slot);
        self.pool.retain(self.sources.get(slot).pages());
    }

    /// Removes a sequence that holds the source. After the last one an encoded source stays in the cache; any other
    /// source is removed and its pages are free.
    pub fn release(&mut self, slot: SourceSlot) {
        let source = self.sources.get(slot);
        self.pool.release(source.pages());
        if self.holders(source) > 0 {
            return;
        }
        if source.is_ready() {
            self.sources.set_idle(slot);
            return;
        }
        self.encoder.forget(slot);
        self.pool.release(self.sources.remove(slot).pages());
    }

    /// Number of sequences that hold a source: the owners of its first page beside the cache.
    pub fn holders(&self, source: &Source) -> u32 {
        self.pool.references(source.pages()[0]) - 1
    }

    /// Counts the encode work of the current plan as done.
    pub fn finish_encoding(&mut self) {
        self.encoder.commit(&mut self.sources);
    }

    /// Whether rows of a holder can run.
    pub fn is_ready(&self, slot: SourceSlot) -> bool {
        self.sources.get(slot).is_ready()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::Salt;
    use model::{EncoderCost, PagePieces};

    const LIMITS: SchedulerLimits = SchedulerLimits {
        pool: PoolSize { pages: 4, source_page_tokens: 16, pieces: PagePieces::ONE },
        running_rows: 1,
        call_rows: 1,
        step_rows: 1,
        step_encoder_tokens: 64,
        draft_rows: 0,
        encoder: EncoderCost::undivided(1),
    };

    #[test]
    fn every_holder_of_a_source_owns_its_pages_and_so_does_the_cache() {
        let mut memory = Memory::new(&LIMITS);
        let slot = memory.place(&memory.sources.key(&vec![7; 20].into(), &Salt::default()), Priority::Interactive);
        memory.hold(slot);
        let pages = memory.sources.get(slot).pages().to_vec();
        let references = |memory: &Memory| pages.iter().map(|&page| memory.pool.references(page)).collect::<Vec<_>>();
        assert_eq!(references(&memory), [3, 3]);
        memory.sources.get_mut(slot).mark_ready();
        memory.release(slot);
        memory.release(slot);
        assert_eq!((references(&memory), memory.pool.free(), memory.available()), (vec![1, 1], 2, 4));
        let mut taken = Vec::new();
        memory.take(4, &mut taken);
        assert_eq!(references(&memory), [1, 1], "the source was evicted and its pages have a new owner");
    }

    #[test]
    fn a_source_not_yet_encoded_returns_its_pages_with_its_last_holder() {
        let mut memory = Memory::new(&LIMITS);
        let key = memory.sources.key(&vec![7; 20].into(), &Salt::default());
        let slot = memory.place(&key, Priority::Interactive);
        memory.hold(slot);
        memory.release(slot);
        assert_eq!((memory.pool.free(), memory.available()), (2, 2));
        memory.release(slot);
        assert_eq!((memory.pool.free(), memory.sources.find(&key)), (4, None));
    }

    #[test]
    fn an_empty_source_is_ready_without_the_encoder_and_its_holders_are_counted() {
        let mut memory = Memory::new(&LIMITS);
        let slot = memory.place(&memory.sources.key(&[].into(), &Salt::default()), Priority::Interactive);
        memory.hold(slot);
        let holders = |memory: &Memory| memory.holders(memory.sources.get(slot));
        assert!(memory.is_ready(slot) && memory.encoder.runs() == 0);
        assert_eq!((holders(&memory), memory.pool.free()), (2, 3));
        memory.release(slot);
        memory.release(slot);
        assert_eq!((holders(&memory), memory.available()), (0, 4), "it stays in the cache");
    }
}
