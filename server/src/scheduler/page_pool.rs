//! The pool of K/V pages: which are free, and how many owners each of the others has. Target pages and source pages
//! come from the same pool.
//!
//! Called by `memory` and by the parts of the scheduler that end or preempt sequences. Knows indices only, not what a
//! page holds.

/// Index of a page in the device's pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PageId(pub u32);

impl PageId {
    const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Books of the page pool that do not agree with the owners of its pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PageImbalance {
    /// A page has more or fewer references than owners.
    #[error("page {} has {owners} owners and {references} references", page.0)]
    References {
        /// The page.
        page: PageId,
        /// Owners that were found.
        owners: u32,
        /// References that are counted.
        references: u32,
    },
    /// A page is free although it has an owner, or free twice.
    #[error("page {} is free and in use, or free twice", page.0)]
    Free {
        /// The page.
        page: PageId,
    },
    /// A page has no owner and is not free.
    #[error("page {} is lost", page.0)]
    Lost {
        /// The page.
        page: PageId,
    },
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

    /// Number of pages that would be free if each of `owned` lost an owner as often as it is listed.
    pub fn freed(&self, mut owned: Vec<PageId>) -> usize {
        owned.sort_unstable();
        owned.chunk_by(|a, b| a == b).filter(|owners| self.references(owners[0]) as usize == owners.len()).count()
    }

    /// Compares the books with the number of owners of each page, by index.
    ///
    /// # Errors
    /// The first page that does not agree.
    pub fn check(&self, mut owners: Vec<u32>) -> Result<(), PageImbalance> {
        const FREE: u32 = u32::MAX;
        for &page in &self.free {
            if std::mem::replace(&mut owners[page.index()], FREE) != 0 {
                return Err(PageImbalance::Free { page });
            }
        }
        for (index, (owners, &references)) in (0..).zip(owners.into_iter().zip(&self.references)) {
            let page = PageId(index);
            let expected = if owners == FREE { 0 } else { owners };
            if references != expected {
                return Err(PageImbalance::References { page, owners: expected, references });
            }
            if owners == 0 {
                return Err(PageImbalance::Lost { page });
            }
        }
        Ok(())
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
    fn pages_are_freed_by_all_of_their_owners_together() {
        let mut pool = PagePool::new(3);
        let pages = taken(&mut pool, 2);
        pool.retain(&pages[..1]);
        assert_eq!(pool.freed(pages.clone()), 1);
        assert_eq!(pool.freed(vec![pages[0], pages[1], pages[0]]), 2);
        assert_eq!(pool.freed(Vec::new()), 0);
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
    fn the_check_finds_pages_that_are_lost_or_free_and_in_use_or_counted_wrongly() {
        let mut pool = PagePool::new(3);
        let page = taken(&mut pool, 1)[0];
        assert_eq!(pool.check(vec![1, 0, 0]), Ok(()));
        let miscounted = PageImbalance::References { page, owners: 2, references: 1 };
        assert_eq!(pool.check(vec![2, 0, 0]), Err(miscounted));
        assert_eq!(pool.check(vec![1, 1, 0]), Err(PageImbalance::Free { page: PageId(1) }));
        let lost = pool.free.pop().unwrap();
        assert_eq!(pool.check(vec![1, 0, 0]), Err(PageImbalance::Lost { page: lost }));
        pool.free.push(pool.free[0]);
        assert_eq!(pool.check(vec![1, 0, 0]), Err(PageImbalance::Free { page: pool.free[0] }));
    }
}
