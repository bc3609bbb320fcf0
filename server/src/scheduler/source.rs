//! A source with pages, and the key that tells whether two sources are the same.
//!
//! Kept by `source_cache`.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use model::PageTables;

use super::page_pool::{PageId, PagePool};
use crate::request::Salt;

/// Identity of a source: all of its ids, and the salt that keeps callers apart who must not share sources.
#[derive(Debug, Clone)]
pub struct SourceKey {
    /// Hash of salt and ids.
    pub hash: u64,
    /// Salt of the caller.
    pub salt: Salt,
    /// Token ids.
    pub ids: Arc<[u32]>,
}

impl SourceKey {
    /// Number of source tokens.
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

/// Names an entry of the source cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SourceSlot(pub usize);

/// One source with its pages.
#[derive(Debug)]
pub struct Source {
    key: SourceKey,
    pages: Vec<PageId>,
    is_ready: bool,
    /// When its last holder released it, counted in releases; `None` while it is held.
    pub(super) idle_since: Option<u64>,
    listed: Option<Listing>,
}

/// Where the pages stand in the tables of a plan.
#[derive(Debug, Clone, Copy)]
struct Listing {
    step: u64,
    first: u32,
}

impl Source {
    /// A source whose pages are to be written.
    pub const fn new(key: SourceKey, pages: Vec<PageId>) -> Self {
        Self { key, pages, is_ready: false, idle_since: None, listed: None }
    }

    /// Identity and ids.
    pub const fn key(&self) -> &SourceKey {
        &self.key
    }

    /// All of its pages.
    pub fn pages(&self) -> &[PageId] {
        &self.pages
    }

    /// Whether its pages hold the K/V of all its tokens. If not, it is waiting for the encoder or in it.
    pub const fn is_ready(&self) -> bool {
        self.is_ready
    }

    /// Marks all pages as written by the encoder.
    pub const fn mark_ready(&mut self) {
        self.is_ready = true;
    }

    /// Whether no sequence holds it.
    pub const fn is_idle(&self) -> bool {
        self.idle_since.is_some()
    }

    /// Entry of its first page in the tables of this step. The first call of a step appends the pages to the tables.
    pub fn list_pages(&mut self, step: u64, pool: &PagePool, tables: &mut PageTables) -> u32 {
        if let Some(listing) = self.listed.filter(|listing| listing.step == step) {
            return listing.first;
        }
        let first = pool.list(&self.pages, tables);
        self.listed = Some(Listing { step, first });
        first
    }
}
