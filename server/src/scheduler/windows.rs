//! Pieces of pages behind the windows of sliding layers: they are given back while the target goes on.
//!
//! Done wherever a plan is made, before it takes pages. A piece is given back once no row reads it any more, even if
//! steps under way had to run again; then what it held may be overwritten by the plan being made, not before.

use super::page_pool::PagePool;
use super::running::Running;
use super::sequence::Lines;
use super::state::Scheduler;

impl Scheduler {
    /// Lets all running sequences give back what lies behind their windows.
    pub(super) fn give_back_windowed(&mut self) {
        let pool = &mut self.memory.pool;
        if pool.pieces().windowed > 0 {
            self.running.iter_mut().for_each(|running| running.give_back_windowed(pool));
        }
    }
}

impl Running {
    /// Gives back the pieces of sliding layers of the first pages, as far as they lie behind the window of the first
    /// row that is not computed. Pages that other sequences share wait until these are gone. An exact search keeps its
    /// pages whole: it may come back to any of them.
    fn give_back_windowed(&mut self, pool: &mut PagePool) {
        if matches!(&self.sequence.lines, Lines::Beams(beams) if beams.search.drops_none()) {
            return;
        }
        let behind = pool.pieces().pages_behind(self.computed);
        while self.given_back < behind && self.owns_alone(self.given_back, pool) {
            let pages = self.branches.iter().map(|branch| branch.pages[self.given_back]);
            pages.for_each(|page| pool.give_back_windowed(page));
            self.given_back += 1;
        }
    }

    /// Whether all owners of the pages at an index are branches of this sequence.
    fn owns_alone(&self, index: usize, pool: &PagePool) -> bool {
        let pages = || self.branches.iter().map(|branch| branch.pages[index]);
        pages().all(|page| pool.references(page) as usize == pages().filter(|&other| other == page).count())
    }
}
