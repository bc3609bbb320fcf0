//! The pool of K/V pages: which are free, and how many owners each of the others has. Target pages and source pages
//! come from the same pool.
//!
//! Called by `memory` and by the parts of the scheduler that end or preempt sequences. Knows indices only, not what a
//! page holds.

use kernels::PAGE_TOKENS;

use crate::request::RequestLengths;

/// Index of a page in the device's pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PageId(pub u32);

impl PageId {
    const fn index(self) -> usize {
        self.0 as usize
    }
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

/// Free pages, and reference counts of the others.
#[derive(Debug)]
pub struct PagePool {
    free: Vec<PageId>,
    /// Number of owners of each page.
    references: Vec<u32>,
}

impl PagePool {
    /// A pool of free pages.
    pub fn new(pages: usize) -> Self {
        let count = u32::try_from(pages).expect("page indices are 32 bits wide");
        Self { free: (0..count).rev().map(PageId).collect(), references: vec![0; pages] }
    }

    /// Number of pages, free or not.
    pub const fn total(&self) -> usize {
        self.references.len()
    }

    /// Number of free pages.
    pub const fn free(&self) -> usize {
        self.free.len()
    }

    /// The free pages, in no order.
    pub fn free_pages(&self) -> &[PageId] {
        &self.free
    }

    /// Number of owners of a page.
    pub fn references(&self, page: PageId) -> u32 {
        self.references[page.index()]
    }

    /// Moves `count` free pages to the end of `into`, whose owner becomes their only one.
    ///
    /// # Panics
    /// When fewer pages are free.
    pub fn take(&mut self, count: usize, into: &mut Vec<PageId>) {
        let left = self.free.len().checked_sub(count).expect("the caller saw to it that enough pages are free");
        for page in self.free.drain(left..).rev() {
            self.references[page.index()] = 1;
            into.push(page);
        }
    }

    /// Adds one owner to each of these pages.
    ///
    /// # Panics
    /// When one of them is free.
    pub fn retain(&mut self, pages: &[PageId]) {
        for page in pages {
            let references = &mut self.references[page.index()];
            assert!(*references > 0, "a page is shared by somebody who owns it");
            *references += 1;
        }
    }

    /// Removes one owner from each of these pages. Pages without an owner are free again.
    ///
    /// # Panics
    /// When one of them has no owner.
    pub fn release(&mut self, pages: &[PageId]) {
        for &page in pages {
            let references = &mut self.references[page.index()];
            *references = references.checked_sub(1).expect("a page is released by somebody who owns it");
            if *references == 0 {
                self.free.push(page);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(pool: &mut PagePool, count: usize) -> Vec<PageId> {
        let mut pages = Vec::new();
        pool.take(count, &mut pages);
        pages
    }

    #[test]
    fn a_shared_page_is_free_when_its_last_owner_releases_it() {
        let mut pool = PagePool::new(3);
        let pages = taken(&mut pool, 2);
        pool.retain(&pages[..1]);
        pool.release(&pages);
        assert_eq!((pool.free(), pool.references(pages[0]), pool.references(pages[1])), (2, 1, 0));
        pool.release(&pages[..1]);
        assert_eq!((pool.free(), pool.references(pages[0])), (3, 0));
        assert_eq!(taken(&mut pool, 3).len(), 3);
    }

    #[test]
    #[should_panic(expected = "a page is released by somebody who owns it")]
    fn a_page_is_not_released_twice() {
        let mut pool = PagePool::new(1);
        let pages = taken(&mut pool, 1);
        pool.release(&pages);
        pool.release(&pages);
    }

    #[test]
    #[should_panic(expected = "a page is shared by somebody who owns it")]
    fn a_free_page_is_not_shared() {
        PagePool::new(1).retain(&[PageId(0)]);
    }

    #[test]
    fn a_request_takes_pages_for_its_source_and_for_what_its_longest_choice_reads() {
        let pool = PoolSize { pages: 9, source_page_tokens: 32 };
        let pages = |source, decoder_prompt, max_tokens| {
            pool.request_pages(RequestLengths { source, decoder_prompt, max_tokens })
        };
        assert_eq!([pages(32, 0, 0), pages(33, 0, 16), pages(1, 1, 16)], [2, 3, 3]);
    }
}
