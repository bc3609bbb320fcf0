//! Stems: pages of beginnings that an exact search ran and may come back to.
//!
//! Part of the commit; given up wherever a plan is made and anybody lacks pages. A beginning that the search comes back
//! to starts with the pages of whatever begins most like it, and runs its last tokens only.

use super::beams::common;
use super::page_pool::{PageId, PagePool};
use super::pool_size::target_pages;
use super::running::{Branch, Grant, Running};
use super::sequence::Lines;
use super::state::Scheduler;
use crate::request::Priority;

/// Most stems that a search keeps, for each branch that it may run.
const STEMS_OF_BRANCH: usize = 16;

/// A beginning that ran, with its pages.
#[derive(Debug)]
pub struct Stem {
    /// Its tokens after the decoder prompt.
    tokens: Vec<u32>,
    /// Pages of all its positions, which it shares with branches and other stems.
    pub pages: Vec<PageId>,
}

impl Running {
    /// Keeps the pages of the branches that ran, as far as the search may come back to what follows them. The stems
    /// that were kept first make room.
    pub(super) fn keep_stems(&mut self, pool: &mut PagePool) {
        let Lines::Beams(beams) = &self.sequence.lines else { return };
        let first = 1 + self.sequence.request.asked.decoder_prompt.len();
        for (ran, branch) in beams.search.ran().iter().zip(&self.branches) {
            if !ran.is_open || self.stems.iter().any(|stem| stem.tokens == ran.tokens) {
                continue;
            }
            let pages = branch.pages[..target_pages(first + ran.tokens.len())].to_vec();
            pool.retain(&pages);
            self.stems.push_back(Stem { tokens: ran.tokens.clone(), pages });
        }
        while self.stems.len() > STEMS_OF_BRANCH * self.sequence.rows() {
            self.stems.pop_front().into_iter().for_each(|stem| pool.release(&stem.pages));
        }
    }

    /// Goes on with other branches than those that ran. Each begins with the pages of a branch that ran or of a stem,
    /// whichever has most of its first tokens. Where all of them have more in common than any of these has, one runs
    /// that first. No rows are under way beside those that are over.
    pub(super) fn come_back(&mut self, pool: &mut PagePool) {
        let branches = self.branches_back();
        branches.iter().for_each(|branch| pool.retain(&branch.pages));
        self.keep_stems(pool);
        self.branches.iter().for_each(|branch| pool.release(&branch.pages));
        self.computed = branches.iter().map(|branch| branch.ready).min().unwrap_or(0);
        (self.branches, self.granted) = (branches, Grant::default());
    }

    /// The branches that a search comes back to, with pages of those before and of stems. Candidates are found at their
    /// last tokens, which are run in any case.
    fn branches_back(&self) -> Vec<Branch> {
        let Lines::Beams(beams) = &self.sequence.lines else { return Vec::new() };
        let (search, first) = (&beams.search, 1 + self.sequence.request.asked.decoder_prompt.len());
        let ran = search.ran().iter().map(|ran| ran.tokens.as_slice());
        let ran = ran.zip(self.branches.iter().map(|branch| branch.pages.as_slice()));
        let stems = self.stems.iter().map(|stem| (stem.tokens.as_slice(), stem.pages.as_slice()));
        let begin = |branch: usize| {
            let tokens = search.tokens(branch);
            let common = |(before, pages)| (common([before, tokens].into_iter()), pages);
            let (common, pages) = ran.clone().chain(stems.clone()).map(common).max_by_key(|one| one.0)?;
            let ready = (first + common).min(self.sequence.tokens() - 1);
            Some(Branch { pages: pages[..target_pages(ready)].to_vec(), ready })
        };
        let mut branches: Vec<Branch> = (0..search.branches()).filter_map(begin).collect();
        if branches.iter().all(|branch| branch.ready < self.sequence.stem_positions()) {
            let best = branches.iter().map(|branch| branch.ready).max();
            branches.retain(|branch| Some(branch.ready) == best);
            branches.truncate(1);
        }
        branches
    }

    /// Gives up all stems.
    pub(super) fn give_up_stems(&mut self, pool: &mut PagePool) {
        self.stems.drain(..).for_each(|stem| pool.release(&stem.pages));
    }
}

impl Scheduler {
    /// Lets all searches give up their stems where the granted rows or the first sequence of the queue lack pages. No
    /// plan is under way beside the one that is made, and nothing was copied for it.
    pub(super) fn give_up_stems(&mut self) {
        if self.running.iter().all(|running| running.stems.is_empty()) {
            return;
        }
        let missing: usize = self.running.iter().map(Running::missing_pages).sum();
        let rows = self.running_rows();
        let is_short = missing > self.memory.available()
            || self.head_needs(Priority::Idle).is_some_and(|needs| !self.has_pages(&needs, rows, 0));
        if is_short {
            let pool = &mut self.memory.pool;
            self.running.iter_mut().for_each(|running| running.give_up_stems(pool));
        }
    }
}
