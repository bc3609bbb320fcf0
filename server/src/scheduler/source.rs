//! Encoded sources: who needs them, how far they are, and which unneeded ones stay cached.
//!
//! Called by `memory`, which owns the pool. An entry exists exactly as long as it has pages.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::sync::Arc;

use slab::Slab;

use super::pages::PageId;
use super::plan::narrow;
use crate::request::Salt;

/// What makes two sources the same: all ids, and the salt that keeps those apart who must not share them.
#[derive(Debug, Clone)]
pub struct SourceKey {
    hash: u64,
    salt: Salt,
    ids: Arc<[u32]>,
}

impl SourceKey {
    /// The source's token ids.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// Source tokens.
    pub fn tokens(&self) -> usize {
        self.ids.len()
    }
}

impl Hash for SourceKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl PartialEq for SourceKey {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash
            && self.salt == other.salt
            && (Arc::ptr_eq(&self.ids, &other.ids) || self.ids == other.ids)
    }
}

impl Eq for SourceKey {}

/// Names an entry of [`Sources`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SourceSlot(usize);

/// One source with its pages.
#[derive(Debug)]
pub struct Source {
    key: SourceKey,
    pages: Vec<PageId>,
    is_ready: bool,
    holders: u32,
    idle_since: u64,
    /// Step in which the pages were last written into a plan's table, and where.
    listed: Option<(u64, u32)>,
}

impl Source {
    /// Identity and ids.
    pub const fn key(&self) -> &SourceKey {
        &self.key
    }

    /// Its pages, all of them.
    pub fn pages(&self) -> &[PageId] {
        &self.pages
    }

    /// Whether its pages hold the K/V of all its tokens; if not, it is on its way through the encoder.
    pub const fn is_ready(&self) -> bool {
        self.is_ready
    }

    /// Sequences that hold it.
    pub const fn holders(&self) -> u32 {
        self.holders
    }

    /// Whether nobody holds it.
    pub const fn is_idle(&self) -> bool {
        self.holders == 0
    }

    /// Where the pages stand in the table of this step; they are written there on the first call of a step.
    pub fn list_pages(&mut self, step: u64, tables: &mut Vec<u32>) -> u32 {
        if let Some((listed_in, first)) = self.listed
            && listed_in == step
        {
            return first;
        }
        let first = narrow(tables.len());
        tables.extend(self.pages.iter().map(|page| page.0));
        self.listed = Some((step, first));
        first
    }
}

/// All sources that have pages.
#[derive(Debug, Default)]
pub struct Sources {
    entries: Slab<Source>,
    by_key: HashMap<SourceKey, SourceSlot>,
    /// Ready entries that nobody holds, least recently held first.
    idle: BTreeMap<u64, SourceSlot>,
    idle_pages: usize,
    releases: u64,
    hasher: RandomState,
}

impl Sources {
    /// The key of these ids. Costs a pass over them, so it is made once a request.
    pub fn key(&self, ids: &Arc<[u32]>, salt: &Salt) -> SourceKey {
        SourceKey { hash: self.hasher.hash_one((salt, ids)), salt: salt.clone(), ids: Arc::clone(ids) }
    }

    /// The entry of the same source, if it has pages.
    pub fn find(&self, key: &SourceKey) -> Option<SourceSlot> {
        self.by_key.get(key).copied()
    }

    /// A new entry with one holder. The key must not be there yet.
    pub fn insert(&mut self, key: SourceKey, pages: Vec<PageId>) -> SourceSlot {
        let entry = Source { key: key.clone(), pages, is_ready: false, holders: 1, idle_since: 0, listed: None };
        let slot = SourceSlot(self.entries.insert(entry));
        let replaced = self.by_key.insert(key, slot);
        debug_assert!(replaced.is_none(), "an entry is looked up before another is made");
        slot
    }

    /// An entry. Slots are valid while held.
    pub fn get(&self, slot: SourceSlot) -> &Source {
        &self.entries[slot.0]
    }

    /// An entry, to list its pages.
    pub fn get_mut(&mut self, slot: SourceSlot) -> &mut Source {
        &mut self.entries[slot.0]
    }

    /// The encoder wrote a held entry's pages.
    pub fn mark_ready(&mut self, slot: SourceSlot) {
        self.entries[slot.0].is_ready = true;
    }

    /// One more sequence needs the entry.
    pub fn hold(&mut self, slot: SourceSlot) {
        let entry = &mut self.entries[slot.0];
        if entry.holders == 0 {
            self.idle.remove(&entry.idle_since);
            self.idle_pages -= entry.pages.len();
        }
        entry.holders += 1;
    }

    /// One sequence less needs it. An encoded entry stays cached after the last one; any other is removed
    /// and its pages returned.
    pub fn release(&mut self, slot: SourceSlot) -> Option<Vec<PageId>> {
        let entry = &mut self.entries[slot.0];
        entry.holders -= 1;
        if entry.holders > 0 {
            return None;
        }
        if !entry.is_ready {
            return Some(self.remove(slot));
        }
        self.releases += 1;
        entry.idle_since = self.releases;
        self.idle_pages += entry.pages.len();
        self.idle.insert(self.releases, slot);
        None
    }

    /// Removes the cached entry that nobody has needed for the longest time.
    pub fn evict_oldest(&mut self) -> Option<Vec<PageId>> {
        let (_, slot) = self.idle.pop_first()?;
        let pages = self.remove(slot);
        self.idle_pages -= pages.len();
        Some(pages)
    }

    /// Pages of cached entries.
    pub const fn idle_pages(&self) -> usize {
        self.idle_pages
    }

    /// All entries.
    pub fn iter(&self) -> impl Iterator<Item = &Source> {
        self.entries.iter().map(|(_, source)| source)
    }

    fn remove(&mut self, slot: SourceSlot) -> Vec<PageId> {
        let entry = self.entries.remove(slot.0);
        self.by_key.remove(&entry.key);
        entry.pages
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready(sources: &mut Sources, ids: &[u32], page: u32) -> SourceSlot {
        let slot = sources.insert(sources.key(&ids.into(), &Salt::default()), vec![PageId(page)]);
        sources.mark_ready(slot);
        slot
    }

    #[test]
    fn keys_with_equal_hashes_and_different_ids_or_salts_name_different_sources() {
        let mut sources = Sources::default();
        let key = |salt: &Salt, ids: [u32; 2]| SourceKey { hash: 7, salt: salt.clone(), ids: ids.into() };
        let (none, other) = (Salt::default(), Salt::of(b"other"));
        let slot = sources.insert(key(&none, [1, 2]), vec![PageId(0)]);
        assert_eq!(sources.find(&key(&none, [1, 2])), Some(slot));
        assert_eq!(sources.find(&key(&none, [2, 1])), None);
        assert_eq!(sources.find(&key(&other, [1, 2])), None);
    }

    #[test]
    fn the_source_unneeded_for_longest_is_evicted_first() {
        let mut sources = Sources::default();
        let first = ready(&mut sources, &[1], 1);
        let second = ready(&mut sources, &[2], 2);
        assert_eq!(sources.release(first), None);
        assert_eq!(sources.release(second), None);
        sources.hold(first);
        assert_eq!(sources.release(first), None);
        assert_eq!(sources.idle_pages(), 2);
        assert_eq!(sources.evict_oldest(), Some(vec![PageId(2)]));
        assert_eq!(sources.evict_oldest(), Some(vec![PageId(1)]));
        assert_eq!(sources.evict_oldest(), None);
        assert_eq!(sources.idle_pages(), 0);
    }

    #[test]
    fn a_source_not_yet_encoded_returns_its_pages_with_its_last_holder() {
        let mut sources = Sources::default();
        let slot = sources.insert(sources.key(&[1].into(), &Salt::default()), vec![PageId(5)]);
        sources.hold(slot);
        assert_eq!(sources.release(slot), None);
        assert_eq!(sources.release(slot), Some(vec![PageId(5)]));
        assert_eq!(sources.find(&sources.key(&[1].into(), &Salt::default())), None);
    }
}
