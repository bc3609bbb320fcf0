//! A running sequence: the source that it holds, its branches with their target pages, and its rows in the plans under
//! way.
//!
//! Rows are granted by `rows`, pages by `preemption` and `admission`.

use std::collections::VecDeque;
use std::ops::Range;

use kernels::{PAGE_TOKENS, PageCopy};

use super::memory::Memory;
use super::page_pool::{PageId, PagePool};
use super::pool_size::target_pages;
use super::sequence::{Lines, Sequence};
use super::source::SourceSlot;
use super::stems::Stem;
use super::windows::GivenBack;

/// A line of tokens of a running sequence, with the target pages that it owns. Branches may share pages.
#[derive(Debug, Default)]
pub struct Branch {
    /// Its target pages, in the order of positions.
    pub pages: Vec<PageId>,
    /// Number of positions whose K/V are there, where they are more than every branch has.
    pub ready: usize,
}

/// Rows of a sequence in a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Grant {
    /// Number of rows of each branch.
    pub rows: usize,
    /// Whether it is one row whose token the previous plan still draws. The row draws the token after that one,
    /// whatever becomes of the sequence in between.
    pub follows_draw: bool,
}

/// A page that rows of a branch write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Written {
    /// Its place among the pages of the branch.
    index: usize,
    page: PageId,
}

/// A sequence that has a row and pages.
#[derive(Debug)]
pub struct Running {
    /// The sequence.
    pub sequence: Sequence,
    /// The source it holds.
    pub source: SourceSlot,
    /// Its branches, at least one. Their rows end at the same position.
    pub branches: Vec<Branch>,
    /// Beginnings that an exact search may come back to, in the order in which they were kept.
    pub stems: VecDeque<Stem>,
    /// Drafted tokens, whose rows are the last ones that were granted. Known to be right or wrong with their commit.
    pub draft: Vec<u32>,
    /// Whether it is a search that owed rows in the last step and got none.
    pub passed_over: bool,
    /// Number of positions whose K/V are in the pages of every branch.
    pub computed: usize,
    /// Pages of every branch that gave back their pieces of sliding layers.
    pub given_back: GivenBack,
    /// Positions after `computed` that the oldest plan under way runs.
    pub granted: Grant,
    /// Positions after `granted` that run in the plan being made, or in the one that was made ahead.
    pub next: Grant,
    /// Whether its first pages were taken over from a sequence that computes them in a plan that is not committed.
    pub relies_on_plans: bool,
    /// Whether it finished or was cancelled. The next sweep removes it, unless rows of it are under way.
    pub ended: bool,
}

impl Running {
    /// First position that the next plan may run.
    pub const fn position(&self) -> usize {
        self.computed + self.granted.rows
    }

    /// Whether the last of the rows under way draws the sequence's next token, or finds candidates for it.
    pub fn draws(&self) -> bool {
        self.granted.follows_draw || self.granted.rows > 0 && self.position() >= self.sequence.tokens()
    }

    /// The token of a branch at a position that is known, drafted or without a choice.
    pub fn token(&self, branch: usize, position: usize) -> u32 {
        match position.checked_sub(self.sequence.tokens()) {
            Some(index) if self.is_search() => self.sequence.forced(branch)[index],
            Some(index) => self.draft[index],
            None => self.sequence.token(branch, position),
        }
    }

    /// Number of outputs of rows under way that reach the last tokens of all branches.
    pub fn outputs(&self) -> usize {
        self.branches.len() + self.sequence.forced_tokens()
    }

    /// Whether it is a beam search.
    pub const fn is_search(&self) -> bool {
        matches!(self.sequence.lines, Lines::Beams(_))
    }

    /// Rows of each branch that the next plan has to run: the positions whose tokens are known, or the position whose
    /// token is being drawn unless that token is the last. What follows a step of a beam search is not known before its
    /// commit, and what follows a place not before that was seen.
    pub fn owed(&self) -> Grant {
        if self.ended || self.draws() && self.is_search() || self.sequence.awaits_places() {
            return Grant::default();
        }
        if self.draws() {
            let goes_on = self.sequence.generated_tokens() + 1 < self.sequence.request.asked.max_tokens as usize;
            return Grant { rows: usize::from(goes_on), follows_draw: goes_on };
        }
        let is_stem = self.branches.len() == 1;
        let known = if is_stem { self.sequence.stem_positions() } else { self.sequence.positions_wanted() };
        Grant { rows: known - self.position(), follows_draw: false }
    }

    /// Whether no plan can be made ahead of its rows under way: log-probabilities or candidates are read from their
    /// logits, the rule of the next draw follows the token that they draw, or tokens are drafted.
    pub fn holds_back_plans(&self) -> bool {
        if !self.draft.is_empty() {
            return true;
        }
        let asked = &self.sequence.request.asked;
        let follows = asked.follows_tokens() && self.owed().follows_draw;
        let scores_prompt = asked.scores_prompt() && self.computed < asked.decoder_prompt.len();
        self.is_search() || asked.log_probs.is_some() || scores_prompt || follows
    }

    /// The rows that it owes, as far as so many are left. Rows of tokens without a choice come with the last of each
    /// branch, all of them or none.
    pub fn grant_within(&self, rows_left: usize) -> Grant {
        let owed = self.owed();
        let mut rows = owed.rows.min(rows_left);
        while self.rows_with_forced(rows) > rows_left {
            rows -= 1;
        }
        Grant { rows, ..owed }
    }

    /// Number of rows of all branches in the plan being made, or in the one that was made ahead.
    pub fn next_rows(&self) -> usize {
        self.rows_with_forced(self.next.rows)
    }

    /// Number of rows of all branches, if so many of each are granted.
    fn rows_with_forced(&self, rows: usize) -> usize {
        let forced = if self.reaches_end(rows) { self.sequence.forced_tokens() } else { 0 };
        let rows_of = |branch: &Branch| (self.position() + rows).saturating_sub(branch.ready).min(rows);
        self.branches.iter().map(rows_of).sum::<usize>() + forced
    }

    /// Positions of a branch that run in the plan being made.
    pub fn next_positions(&self, branch: usize) -> Range<usize> {
        let forced = if self.reaches_end(self.next.rows) { self.sequence.forced(branch).len() } else { 0 };
        let end = self.position() + self.next.rows + forced;
        self.position().max(self.branches[branch].ready).min(end)..end
    }

    /// Whether so many rows of each branch reach its last token.
    fn reaches_end(&self, rows: usize) -> bool {
        rows > 0 && self.position() + rows >= self.sequence.tokens()
    }

    /// Number of target pages, each counted for every branch and stem that owns it.
    pub fn owned_pages(&self) -> usize {
        self.page_lists().map(<[PageId]>::len).sum()
    }

    /// The pages of each branch, and of each stem.
    pub fn page_lists(&self) -> impl Iterator<Item = &[PageId]> {
        let branches = self.branches.iter().map(|branch| branch.pages.as_slice());
        branches.chain(self.stems.iter().map(|stem| stem.pages.as_slice()))
    }

    /// Number of pages that the rows of both plans need in addition to those that the branches own.
    pub fn missing_pages(&self, pool: &PagePool) -> usize {
        let missing = (0..self.branches.len()).map(|branch| self.missing_pages_of(branch)).sum::<usize>();
        missing + self.copied_pages(pool)
    }

    /// Gives each branch the pages that its rows in both plans need. A page that the next rows write and that other
    /// branches or stems own is replaced by a copy, which `copies` gets; the last owner keeps the page.
    pub fn take_pages(&mut self, memory: &mut Memory, copies: &mut Vec<PageCopy>) {
        for index in 0..self.branches.len() {
            let missing = self.missing_pages_of(index);
            let written = self.written(index).filter(|written| self.owners(written, &memory.pool) > 1);
            let pages = &mut self.branches[index].pages;
            if let Some(Written { index, page }) = written {
                memory.take(1, pages);
                let shared = pages.swap_remove(index);
                copies.extend(memory.pool.copies(page, pages[index]));
                memory.pool.release(&[shared]);
            }
            memory.take(missing, pages);
        }
    }

    /// Whether its only branch has computed all that the branches of the search have in common, so that they part here.
    pub fn is_at_fork(&self) -> bool {
        let parts = self.branches.len() < self.sequence.branches();
        parts && self.position() == self.sequence.stem_positions()
    }

    /// Replaces the branches: each new one continues the branch of the index that is given for it, and shares its pages
    /// with it.
    pub fn fork(&mut self, parents: impl IntoIterator<Item = usize>, pool: &mut PagePool) {
        let of_parent = |parent: usize| {
            let pages = &self.branches[parent].pages;
            pool.retain(pages);
            Branch { pages: pages.clone(), ready: 0 }
        };
        let forked = parents.into_iter().map(of_parent).collect();
        let before = std::mem::replace(&mut self.branches, forked);
        before.iter().for_each(|branch| pool.release(&branch.pages));
    }

    /// The first page that the next rows of a branch write, if it has that. Branches share no later one.
    fn written(&self, branch: usize) -> Option<Written> {
        let positions = self.next_positions(branch);
        let index = positions.start / PAGE_TOKENS;
        let page = self.branches[branch].pages.get(index).filter(|_| !positions.is_empty());
        page.map(|&page| Written { index, page })
    }

    /// Number of branches and stems that own a page. Other sequences share whole pages of the decoder prompt only, and
    /// those are written while there is one branch and no stem.
    fn owners(&self, written: &Written, pool: &PagePool) -> usize {
        let prompt_pages = self.sequence.request.asked.decoder_prompt.len() / PAGE_TOKENS;
        if written.index < prompt_pages { 1 } else { pool.references(written.page) as usize }
    }

    /// Number of pages that the next rows write and others own: all but the last owner copy them.
    fn copied_pages(&self, pool: &PagePool) -> usize {
        let written = (0..self.branches.len()).filter_map(|branch| self.written(branch));
        let shared = written.filter(|written| self.owners(written, pool) > 1);
        let mut writers: Vec<PageId> = shared.map(|written| written.page).collect();
        writers.sort_unstable();
        let copies = |writers: &[PageId]| writers.len().min(pool.references(writers[0]) as usize - 1);
        writers.chunk_by(|a, b| a == b).map(copies).sum()
    }

    /// Returns the pages of all branches and stems.
    pub fn release_pages(&self, pool: &mut PagePool) {
        self.page_lists().for_each(|pages| pool.release(pages));
    }

    fn missing_pages_of(&self, branch: usize) -> usize {
        let wanted = target_pages(self.next_positions(branch).end);
        wanted.saturating_sub(self.branches[branch].pages.len())
    }

    /// Counts the rows under way as done. The next ones are under way from now on.
    pub fn move_on(&mut self) {
        self.computed += self.granted.rows;
        self.granted = std::mem::take(&mut self.next);
    }
}
