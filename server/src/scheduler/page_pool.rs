//! The pool of K/V pages: which are free, how many owners each of the others has, and the pieces that it is made of.
//! Target pages and source pages come from the same pool.
//!
//! Called by `memory` and by the parts of the scheduler that end or preempt sequences. Knows indices only, not what a
//! page holds. A page has all pieces from the start; those of sliding layers can be given back before the page is.

use kernels::PageCopy;
use model::{PagePieces, PageTables};

use super::plan::narrow;
use super::pool_size::PoolSize;

/// Name of a page. The device knows its pieces only.
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
    /// A page is free although it has an owner or a piece, or free twice.
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
    /// A piece is lost, or in several places.
    #[error("piece {piece} is in {holders} pages or lists of free ones")]
    Piece {
        /// Index of the piece.
        piece: usize,
        /// Number of pages that have it; being free counts as one.
        holders: u32,
    },
}

/// Stands for a piece that a page lacks.
const NO_PIECE: u32 = u32::MAX;

/// Free pages and pieces, and reference counts of the other pages.
#[derive(Debug)]
pub struct PagePool {
    pieces: PagePieces,
    /// Pages without an owner, which have no pieces. There are as many pages as may be made of all pieces.
    free: Vec<PageId>,
    /// Indices of free pieces in the device's pool. Those that were used last are used first.
    free_pieces: Vec<u32>,
    /// For each piece, its index of each page, or [`NO_PIECE`].
    held_pieces: Vec<Vec<u32>>,
    /// Number of pieces that there are.
    all_pieces: usize,
    /// Number of owners of each page.
    references: Vec<u32>,
}

impl PagePool {
    /// A pool of free pages.
    pub fn new(size: PoolSize) -> Self {
        let PoolSize { pages, pieces, .. } = size;
        let all_pieces = pages * pieces.all;
        // A page that anybody owns has its lasting pieces, so there are never more.
        let most_pages = all_pieces / pieces.lasting();
        Self {
            pieces,
            free: (0..narrow(most_pages)).rev().map(PageId).collect(),
            free_pieces: (0..narrow(all_pieces)).rev().collect(),
            held_pieces: vec![vec![NO_PIECE; most_pages]; pieces.all],
            all_pieces,
            references: vec![0; most_pages],
        }
    }

    /// The pieces of a page.
    pub const fn pieces(&self) -> PagePieces {
        self.pieces
    }

    /// Number of pages that all pieces make.
    pub const fn total(&self) -> usize {
        self.all_pieces / self.pieces.all
    }

    /// Number of pages that free pieces make.
    pub const fn free(&self) -> usize {
        self.free_pieces.len() / self.pieces.all
    }

    /// Number of pages that may have owners.
    pub const fn names(&self) -> usize {
        self.references.len()
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
        assert!(count <= self.free(), "the caller saw to it that enough pages are free");
        for _ in 0..count {
            let page = self.free.pop().expect("pieces run out before pages do");
            for held in &mut self.held_pieces {
                held[page.index()] =
                    self.free_pieces.pop().expect("there are pieces for every page that counts as free");
            }
            self.references[page.index()] = 1;
            into.push(page);
        }
    }

    /// Frees the pieces of sliding layers of a page, which nobody reads or writes any more. Those that the page has
    /// not are passed over.
    pub fn give_back_windowed(&mut self, page: PageId) {
        self.give_back(page, self.pieces.lasting());
    }

    /// Frees the pieces of a page from one on.
    fn give_back(&mut self, page: PageId, first: usize) {
        for held in self.held_pieces[first..].iter_mut().rev() {
            let piece = std::mem::replace(&mut held[page.index()], NO_PIECE);
            if piece != NO_PIECE {
                self.free_pieces.push(piece);
            }
        }
    }

    /// Appends pages to the tables of a plan. Returns the entry of the first.
    pub fn list(&self, pages: &[PageId], tables: &mut PageTables) -> u32 {
        let indices = |piece: usize| {
            let held = &self.held_pieces[piece];
            pages.iter().map(move |page| held[page.index()])
        };
        narrow(tables.extend(self.pieces.all, indices))
    }

    /// Copies of all pieces of a page over those of another.
    pub fn copies(&self, from: PageId, to: PageId) -> impl Iterator<Item = PageCopy> {
        self.held_pieces.iter().map(move |held| PageCopy { from: held[from.index()], to: held[to.index()] })
    }

    /// Number of pieces that a page has.
    pub fn pieces_of(&self, page: PageId) -> usize {
        self.held_pieces.iter().filter(|held| held[page.index()] != NO_PIECE).count()
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
                self.give_back(page, 0);
            }
        }
    }

    /// Number of pages that pieces would make which were free if each of `owned` lost an owner as often as it is
    /// listed.
    pub fn freed(&self, mut owned: Vec<PageId>) -> usize {
        owned.sort_unstable();
        let owners = owned.chunk_by(|a, b| a == b);
        let freed = owners.filter(|owners| self.references(owners[0]) as usize == owners.len());
        freed.map(|owners| self.pieces_of(owners[0])).sum::<usize>() / self.pieces.all
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
        self.check_pieces()
    }

    /// Every piece is free or belongs to one page that has an owner.
    fn check_pieces(&self) -> Result<(), PageImbalance> {
        let mut holders = vec![0; self.all_pieces];
        self.free_pieces.iter().for_each(|&piece| holders[piece as usize] += 1);
        for held in &self.held_pieces {
            for (index, (&piece, &references)) in (0..).zip(held.iter().zip(&self.references)) {
                if piece == NO_PIECE {
                    continue;
                }
                if references == 0 {
                    return Err(PageImbalance::Free { page: PageId(index) });
                }
                holders[piece as usize] += 1;
            }
        }
        match holders.iter().enumerate().find(|(_, holders)| **holders != 1) {
            Some((piece, &holders)) => Err(PageImbalance::Piece { piece, holders }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool_of(pages: usize) -> PagePool {
        PagePool::new(PoolSize { pages, source_page_tokens: 16, pieces: PagePieces::ONE })
    }

    fn taken(pool: &mut PagePool, count: usize) -> Vec<PageId> {
        let mut pages = Vec::new();
        pool.take(count, &mut pages);
        pages
    }

    #[test]
    fn a_shared_page_is_free_when_its_last_owner_releases_it() {
        let mut pool = pool_of(3);
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
        let mut pool = pool_of(3);
        let pages = taken(&mut pool, 2);
        pool.retain(&pages[..1]);
        assert_eq!(pool.freed(pages.clone()), 1);
        assert_eq!(pool.freed(vec![pages[0], pages[1], pages[0]]), 2);
        assert_eq!(pool.freed(Vec::new()), 0);
    }

    #[test]
    fn pieces_that_were_given_back_make_other_pages() {
        let pieces = PagePieces { all: 3, windowed: 2, window: 16 };
        let mut pool = PagePool::new(PoolSize { pages: 4, source_page_tokens: 16, pieces });
        let pages = taken(&mut pool, 3);
        pool.give_back_windowed(pages[0]);
        pool.give_back_windowed(pages[0]);
        assert_eq!((pool.total(), pool.free()), (4, 1), "five pieces");
        pool.give_back_windowed(pages[1]);
        assert_eq!((pool.free(), pool.freed(pages.clone()), pool.freed(pages[..2].to_vec())), (2, 1, 0));
        let more = taken(&mut pool, 2);
        assert_eq!(pool.check([&pages[..], &more].concat().iter().map(|_| 1).chain([0; 7]).collect()), Ok(()));
        let mut tables = PageTables::default();
        assert_eq!((pool.list(&pages[..1], &mut tables), pool.list(&more, &mut tables)), (0, 1));
        let listed: Vec<u32> = (0..3).flat_map(|piece| tables.of(piece)[1..].to_vec()).collect();
        assert!(listed.iter().all(|&piece| piece < 12), "{tables:?}");
        assert_eq!([0, 1, 2].map(|piece| tables.of(piece)[0] < 12), [true, false, false]);
        pool.release(&[pages, more].concat());
        assert_eq!((pool.free(), pool.check(vec![0; 12])), (4, Ok(())));
        pool.free_pieces.push(0);
        assert_eq!(pool.check(vec![0; 12]), Err(PageImbalance::Piece { piece: 0, holders: 2 }));
    }

    #[test]
    #[should_panic(expected = "a page is released by somebody who owns it")]
    fn a_page_is_not_released_twice() {
        let mut pool = pool_of(1);
        let pages = taken(&mut pool, 1);
        pool.release(&pages);
        pool.release(&pages);
    }

    #[test]
    #[should_panic(expected = "a page is shared by somebody who owns it")]
    fn a_free_page_is_not_shared() {
        pool_of(1).retain(&[PageId(0)]);
    }

    #[test]
    fn the_check_finds_pages_that_are_lost_or_free_and_in_use_or_counted_wrongly() {
        let mut pool = pool_of(3);
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
