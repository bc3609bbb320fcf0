//! Stems: pages of beginnings that an exact search ran and may come back to.
//!
//! Part of the commit; given up wherever a plan is made and anybody lacks pages. A beginning that the search comes back
//! to starts with the pages of whatever begins most like it, and runs its last tokens only.

use std::collections::HashSet;

use super::beams::common;
use super::page_pool::{PageId, PagePool};
use super::pool_size::target_pages;
use super::running::{Branch, Grant, Running};
use super::sequence::Lines;
use super::state::Scheduler;
use crate::request::Priority;

/// Most stems that a search keeps, for each branch that it may run.
const STEMS_OF_BRANCH: usize = 16;
/// Most stems that a search keeps, however wide it is.
const STEMS: usize = 1024;

/// A beginning that ran, with its pages.
#[derive(Debug)]
pub struct Stem {
    /// Its tokens after the decoder prompt.
    tokens: Vec<u32>,
    /// Pages of all its positions, which it shares with branches and other stems.
    pub pages: Vec<PageId>,
}

impl Running {
    /// Keeps the pages of the branches that ran, the best of them first, as far as the search may come back to what
    /// follows them. The stems that were kept first make room.
    pub(super) fn keep_stems(&mut self, pool: &mut PagePool) {
        let Lines::Beams(beams) = &self.sequence.lines else { return };
        let first = 1 + self.sequence.request.asked.decoder_prompt.len();
        let most = (STEMS_OF_BRANCH * self.sequence.rows()).min(STEMS);
        let known: HashSet<&[u32]> = self.stems.iter().map(|stem| stem.tokens.as_slice()).collect();
        let ran = beams.search.ran().iter().zip(&self.branches);
        let new = ran.filter(|(ran, _)| ran.is_open && !known.contains(ran.tokens.as_slice())).take(most);
        let new: Vec<Stem> = new
            .map(|(ran, branch)| {
                let pages = branch.pages[..target_pages(first + ran.tokens.len())].to_vec();
                pool.retain(&pages);
                Stem { tokens: ran.tokens.clone(), pages }
            })
            .collect();
        self.stems.extend(new);
        let surplus = self.stems.len().saturating_sub(most);
        self.stems.drain(..surplus).for_each(|stem| pool.release(&stem.pages));
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
        let mut before: Vec<_> = ran.chain(stems).collect();
        before.sort_unstable_by_key(|one| one.0);
        let begin = |branch: usize| {
            let tokens = search.tokens(branch);
            // In this order, whatever has most in common with the branch stands beside its place.
            let place = before.partition_point(|one| one.0 < tokens);
            let beside = &before[place.saturating_sub(1)..before.len().min(place + 1)];
            let common = |&(before, pages)| (common([before, tokens].into_iter()), pages);
            let (common, pages): (usize, &[PageId]) = beside.iter().map(common).max_by_key(|one| one.0)?;
            let ready = (first + common).min(self.sequence.tokens() - 1);
            Some(Branch { pages: pages[..target_pages(ready)].to_vec(), ready })
        };
        let mut branches: Vec<Branch> = (0..search.branches()).filter_map(begin).collect();
        let stem = self.sequence.stem_positions();
        if branches.iter().all(|branch| branch.ready < stem) {
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
    /// Lets all searches give up their stems where the granted rows lack pages, or the first sequence of the queue
    /// lacks nothing but pages that it has then. No plan is under way beside the one that is made, and nothing was
    /// copied for it.
    pub(super) fn give_up_stems(&mut self) {
        if self.running.iter().all(|running| running.stems.is_empty()) {
            return;
        }
        if self.missing_pages() > self.memory.available() || self.stems_keep_out_the_head() {
            let pool = &mut self.memory.pool;
            self.running.iter_mut().for_each(|running| running.give_up_stems(pool));
        }
    }

    /// Whether the first sequence of the queue would begin in this plan if all searches gave up their stems, and does
    /// not otherwise.
    fn stems_keep_out_the_head(&mut self) -> bool {
        let Some(needs) = self.head_needs(Priority::Idle) else { return false };
        let rows = self.running_rows();
        if self.has_pages(&needs, rows, 0) {
            return false;
        }
        let stems = self.running.iter().flat_map(|running| &running.stems).flat_map(|stem| &stem.pages);
        if self.fits(&needs, rows, self.memory.pool.freed(stems.copied().collect())) {
            return true;
        }
        let takes_from_idle = self.idle_runs() && self.queue.front_is(Priority::Interactive);
        takes_from_idle && !self.idle_ones_make_room(&needs) && self.idle_ones_and_stems_make_room(&needs)
    }
}
