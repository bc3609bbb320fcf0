//! A running sequence: the source that it holds, its branches with their target pages, and its rows in the plans under
//! way.
//!
//! Rows are granted by `rows`, pages by `preemption` and `admission`.

use super::memory::Memory;
use super::page_pool::{PageId, PagePool};
use super::pool_size::target_pages;
use super::sequence::Sequence;
use super::source::SourceSlot;

/// A line of tokens of a running sequence, with the target pages that it owns. Branches may share pages.
#[derive(Debug, Default)]
pub struct Branch {
    /// Its target pages, in the order of positions.
    pub pages: Vec<PageId>,
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

/// A sequence that has a row and pages.
#[derive(Debug)]
pub struct Running {
    /// The sequence.
    pub sequence: Sequence,
    /// The source it holds.
    pub source: SourceSlot,
    /// Its branches, at least one. All have computed equally many positions.
    pub branches: Vec<Branch>,
    /// Number of positions whose K/V are in the pages of every branch.
    pub computed: usize,
    /// Positions after `computed` that the oldest plan under way runs.
    pub granted: Grant,
    /// Positions after `granted` that run in the plan being made, or in the one that was made ahead.
    pub next: Grant,
    /// Whether it finished or was cancelled. The next sweep removes it, unless rows of it are under way.
    pub ended: bool,
}

impl Running {
    /// First position that the next plan may run.
    pub const fn position(&self) -> usize {
        self.computed + self.granted.rows
    }

    /// Whether the last of the rows under way draws the sequence's next token.
    pub fn draws(&self) -> bool {
        self.granted.follows_draw || self.granted.rows > 0 && self.position() == self.sequence.tokens()
    }

    /// Rows that the next plan has to run: the positions whose tokens are known, or the position whose token is being
    /// drawn unless that token is the last.
    pub fn owed(&self) -> Grant {
        if self.ended {
            return Grant::default();
        }
        if self.draws() {
            let goes_on = self.sequence.generated.len() + 1 < self.sequence.request.asked.max_tokens as usize;
            return Grant { rows: usize::from(goes_on), follows_draw: goes_on };
        }
        Grant { rows: self.sequence.positions_wanted() - self.position(), follows_draw: false }
    }

    /// Number of rows of all branches in the plan being made, or in the one that was made ahead.
    pub const fn next_rows(&self) -> usize {
        self.next.rows * self.branches.len()
    }

    /// Number of target pages, each counted for every branch that owns it.
    pub fn owned_pages(&self) -> usize {
        self.branches.iter().map(|branch| branch.pages.len()).sum()
    }

    /// Number of pages that the rows of both plans need in addition to those that the branches own.
    pub fn missing_pages(&self) -> usize {
        self.branches.iter().map(|branch| self.missing_pages_of(branch)).sum()
    }

    /// Gives each branch the pages that its rows in both plans need.
    pub fn take_pages(&mut self, memory: &mut Memory) {
        for index in 0..self.branches.len() {
            let missing = self.missing_pages_of(&self.branches[index]);
            memory.take(missing, &mut self.branches[index].pages);
        }
    }

    /// Returns the pages of all branches.
    pub fn release_pages(&self, pool: &mut PagePool) {
        self.branches.iter().for_each(|branch| pool.release(&branch.pages));
    }

    fn missing_pages_of(&self, branch: &Branch) -> usize {
        target_pages(self.position() + self.next.rows).saturating_sub(branch.pages.len())
    }

    /// Counts the rows under way as done. The next ones are under way from now on.
    pub fn move_on(&mut self) {
        self.computed += self.granted.rows;
        self.granted = std::mem::take(&mut self.next);
    }
}
