//! The pool of K/V pages: which are free. Self and cross pages come from it alike.
//!
//! Called by `memory`. Knows indices only, not what a page holds.

use kernels::PAGE_TOKENS;

use crate::request::RequestLengths;

/// Index of a page in the device's pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PageId(pub u32);

/// Pages by state; the three add up to the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageCounts {
    /// Nobody's.
    pub free: usize,
    /// Of running sequences, and of sources that some sequence needs.
    pub held: usize,
    /// Of encoded sources that nobody needs now; given up when pages run short.
    pub cached: usize,
}

/// Why the books of the pool do not balance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Imbalance {
    /// Two owners have one page.
    #[error("page {} has two owners", page.0)]
    OwnedTwice {
        /// The page.
        page: PageId,
    },
    /// A page has no owner and is not free.
    #[error("page {} is lost", page.0)]
    Lost {
        /// The page.
        page: PageId,
    },
    /// An owner has too few or too many pages for what it keeps in them.
    #[error("{pages} pages are kept for {positions} positions")]
    WrongSize {
        /// Pages owned.
        pages: usize,
        /// Positions kept.
        positions: usize,
    },
    /// Sequences and sources disagree on who needs which source, or a counter is off.
    #[error("{counted} {what} were counted, {recorded} recorded")]
    Miscounted {
        /// What was counted.
        what: &'static str,
        /// Found by walking.
        counted: usize,
        /// Kept as a number.
        recorded: usize,
    },
}

/// Pages that `positions` positions of a target take. [`PoolSize::source_pages`] counts those of a source.
pub const fn target_pages(positions: usize) -> usize {
    positions.div_ceil(PAGE_TOKENS)
}

/// Size of the page pool. [`kernels::PAGE_TOKENS`] positions of a target fill a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolSize {
    /// Number of pages.
    pub pages: usize,
    /// Number of source positions that fill a page.
    pub source_page_tokens: usize,
}

impl PoolSize {
    /// Pages that a source of `tokens` tokens takes.
    pub const fn source_pages(&self, tokens: usize) -> usize {
        tokens.div_ceil(self.source_page_tokens)
    }

    /// Most pages that a request's source and one of its choices take.
    pub fn request_pages(&self, lengths: RequestLengths) -> usize {
        // The start token is read even when nothing is generated.
        self.source_pages(lengths.source) + target_pages(lengths.target_positions().max(1))
    }
}

/// The free list.
#[derive(Debug)]
pub struct PagePool {
    free: Vec<PageId>,
    total: usize,
}

impl PagePool {
    /// A pool of free pages.
    pub fn new(pages: usize) -> Self {
        let count = u32::try_from(pages).expect("page indices are 32 bits wide");
        Self { free: (0..count).rev().map(PageId).collect(), total: pages }
    }

    /// Pages there are.
    pub const fn total(&self) -> usize {
        self.total
    }

    /// Pages that are free.
    pub const fn free(&self) -> usize {
        self.free.len()
    }

    /// The free pages, in no order.
    pub fn free_pages(&self) -> &[PageId] {
        &self.free
    }

    /// Moves `count` free pages to the end of `into`.
    ///
    /// # Panics
    /// When fewer are free.
    pub fn take(&mut self, count: usize, into: &mut Vec<PageId>) {
        let left = self.free.len().checked_sub(count).expect("the caller saw to it that enough pages are free");
        into.extend(self.free.drain(left..).rev());
    }

    /// Takes pages back.
    pub fn give_back(&mut self, pages: &mut Vec<PageId>) {
        self.free.append(pages);
    }
}
