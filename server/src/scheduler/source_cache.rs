//! The cache of sources that have pages: held by sequences, or encoded and kept for later requests.
//!
//! Called by `memory`, which owns the pool. An entry exists exactly as long as it has pages, and owns each of them
//! once; so does every sequence that holds it. The least recently used idle source is evicted first.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use slab::Slab;

use super::page_pool::PageId;
use super::source::{Source, SourceKey, SourceSlot};
use crate::request::Salt;

/// Sources by slot, by key, and by how long they have been idle.
#[derive(Debug, Default)]
pub struct SourceCache {
    entries: Slab<Source>,
    by_key: HashMap<SourceKey, SourceSlot>,
    /// Idle entries, least recently used first.
    idle: BTreeMap<u64, SourceSlot>,
    idle_pages: usize,
    pages: usize,
    evictions: u64,
    releases: u64,
    hasher: RandomState,
}

impl SourceCache {
    /// The key of these ids. Hashes all of them, so it is made once for each request.
    pub fn key(&self, ids: &Arc<[u32]>, salt: &Salt) -> SourceKey {
        SourceKey { hash: self.hasher.hash_one((salt, ids)), salt: salt.clone(), ids: Arc::clone(ids) }
    }

    /// The entry of the same source, if it has pages.
    pub fn find(&self, key: &SourceKey) -> Option<SourceSlot> {
        self.by_key.get(key).copied()
    }

    /// Adds an entry that a sequence holds. There must be none with this key.
    pub fn insert(&mut self, key: SourceKey, pages: Vec<PageId>) -> SourceSlot {
        self.pages += pages.len();
        let slot = SourceSlot(self.entries.insert(Source::new(key.clone(), pages)));
        let replaced = self.by_key.insert(key, slot);
        debug_assert!(replaced.is_none(), "an entry is looked up before another is made");
        slot
    }

    /// An entry. Slots are valid while held.
    pub fn get(&self, slot: SourceSlot) -> &Source {
        &self.entries[slot.0]
    }

    /// An entry, to list its pages or mark it ready.
    pub fn get_mut(&mut self, slot: SourceSlot) -> &mut Source {
        &mut self.entries[slot.0]
    }

    /// Marks an entry as held, so that it is not evicted.
    pub fn set_held(&mut self, slot: SourceSlot) {
        let entry = &mut self.entries[slot.0];
        if let Some(since) = entry.idle_since.take() {
            self.idle.remove(&since);
            self.idle_pages -= entry.pages().len();
        }
    }

    /// Marks an entry that no sequence holds any more, so that it may be evicted.
    pub fn set_idle(&mut self, slot: SourceSlot) {
        let entry = &mut self.entries[slot.0];
        self.releases += 1;
        entry.idle_since = Some(self.releases);
        self.idle_pages += entry.pages().len();
        self.idle.insert(self.releases, slot);
    }

    /// Removes the least recently used idle entry, for its pages to be released.
    pub fn evict_least_recently_used(&mut self) -> Option<Source> {
        let (_, slot) = self.idle.pop_first()?;
        let entry = self.remove(slot);
        self.evictions += 1;
        self.idle_pages -= entry.pages().len();
        Some(entry)
    }

    /// Removes an entry that is held, for its pages to be released.
    pub fn remove(&mut self, slot: SourceSlot) -> Source {
        let entry = self.entries.remove(slot.0);
        self.by_key.remove(entry.key());
        self.pages -= entry.pages().len();
        entry
    }

    /// Number of pages of idle entries.
    pub const fn idle_pages(&self) -> usize {
        self.idle_pages
    }

    /// Number of pages of all entries.
    pub const fn pages(&self) -> usize {
        self.pages
    }

    /// Number of entries that were evicted since the start.
    pub const fn evictions(&self) -> u64 {
        self.evictions
    }

    /// All entries.
    pub fn iter(&self) -> impl Iterator<Item = &Source> {
        self.entries.iter().map(|(_, source)| source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn insert(cache: &mut SourceCache, ids: &[u32], page: u32) -> SourceSlot {
        cache.insert(cache.key(&ids.into(), &Salt::default()), vec![PageId(page)])
    }

    fn evicted(cache: &mut SourceCache) -> Option<Vec<PageId>> {
        cache.evict_least_recently_used().map(|source| source.pages().to_vec())
    }

    #[test]
    fn keys_with_equal_hashes_and_different_ids_or_salts_name_different_sources() {
        let mut cache = SourceCache::default();
        let key = |salt: &Salt, ids: [u32; 2]| SourceKey { hash: 7, salt: salt.clone(), ids: ids.into() };
        let (none, other) = (Salt::default(), Salt::of(b"other"));
        let slot = cache.insert(key(&none, [1, 2]), vec![PageId(0)]);
        assert_eq!(cache.find(&key(&none, [1, 2])), Some(slot));
        assert_eq!(cache.find(&key(&none, [2, 1])), None);
        assert_eq!(cache.find(&key(&other, [1, 2])), None);
    }

    #[test]
    fn the_least_recently_used_source_is_evicted_first() {
        let mut cache = SourceCache::default();
        let first = insert(&mut cache, &[1], 1);
        let second = insert(&mut cache, &[2], 2);
        cache.set_idle(first);
        cache.set_idle(second);
        cache.set_held(first);
        cache.set_idle(first);
        assert_eq!((cache.idle_pages(), cache.pages(), cache.evictions()), (2, 2, 0));
        assert_eq!(evicted(&mut cache), Some(vec![PageId(2)]));
        assert_eq!(evicted(&mut cache), Some(vec![PageId(1)]));
        assert_eq!(evicted(&mut cache), None);
        assert_eq!((cache.idle_pages(), cache.pages(), cache.evictions()), (0, 0, 2));
    }

    #[test]
    fn a_removed_source_is_not_found() {
        let mut cache = SourceCache::default();
        let slot = insert(&mut cache, &[1], 5);
        assert_eq!(cache.remove(slot).pages(), [PageId(5)]);
        assert_eq!(cache.find(&cache.key(&[1].into(), &Salt::default())), None);
    }
}
