//! Pages and those who own them while no sequence does: the pool, the sources, the encoder's queue.
//!
//! Called by the scheduler. Every page that leaves a source goes back to the pool here.

use super::encoding::Encoding;
use super::pages::{PageId, PagePool, PoolSize};
use super::source::{SourceKey, SourceSlot, Sources};

/// The pool with the sources that live in it.
#[derive(Debug)]
pub struct Memory {
    /// Free pages.
    pub pool: PagePool,
    /// Sources that have pages.
    pub sources: Sources,
    /// Those of them on their way through the encoder.
    pub encoding: Encoding,
    size: PoolSize,
}

impl Memory {
    /// All pages free.
    pub fn new(size: PoolSize) -> Self {
        Self { pool: PagePool::new(size.pages), sources: Sources::default(), encoding: Encoding::default(), size }
    }

    /// Pages that a source takes.
    pub fn source_pages(&self, key: &SourceKey) -> usize {
        self.size.source_pages(key.tokens())
    }

    /// Pages that can be had without taking any from a sequence.
    pub const fn available(&self) -> usize {
        self.pool.free() + self.sources.idle_pages()
    }

    /// As [`Self::available`], for somebody who needs this source to stay.
    pub fn available_beside(&self, source: Option<SourceSlot>) -> usize {
        let own = source.map(|slot| self.sources.get(slot)).filter(|source| source.is_idle());
        self.available() - own.map_or(0, |source| source.pages().len())
    }

    /// Takes pages, those of cached sources if it must.
    ///
    /// # Panics
    /// When fewer are [`Self::available`].
    pub fn take(&mut self, count: usize, into: &mut Vec<PageId>) {
        while self.pool.free() < count {
            let mut pages = self.sources.evict_oldest().expect("the caller saw to it that enough pages are available");
            self.pool.give_back(&mut pages);
        }
        self.pool.take(count, into);
    }

    /// Gives a source its pages and queues it for the encoder; the caller holds it.
    pub fn place(&mut self, key: &SourceKey) -> SourceSlot {
        let count = self.source_pages(key);
        let mut pages = Vec::with_capacity(count);
        self.take(count, &mut pages);
        let slot = self.sources.insert(key.clone(), pages);
        self.encoding.push(slot);
        slot
    }

    /// One holder less.
    pub fn release(&mut self, slot: SourceSlot) {
        if let Some(mut pages) = self.sources.release(slot) {
            self.encoding.forget(slot);
            self.pool.give_back(&mut pages);
        }
    }

    /// Whether rows of a holder can run.
    pub fn is_ready(&self, slot: SourceSlot) -> bool {
        self.sources.get(slot).is_ready()
    }
}
