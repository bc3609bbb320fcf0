//! Pieces of pages behind the windows of sliding layers: they are given back while the target goes on.
//!
//! Done wherever a plan is made, before anything else. A piece is given back once no row reads it any more, even if
//! steps under way had to run again; then what it held may be overwritten by the plan being made, not before.

use std::ops::Range;

use kernels::PAGE_TOKENS;

use super::page_pool::PagePool;
use super::running::Running;
use super::sequence::{Lines, Sequence};
use super::state::Scheduler;

/// Pages of a target that gave back their pieces of sliding layers. Those of the decoder prompt may have to wait for
/// sequences that share them, those behind need not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GivenBack {
    /// Number of first pages of the decoder prompt.
    pub of_prompt: usize,
    /// Number of pages behind the decoder prompt's whole ones.
    pub after: usize,
}

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
    /// row that is not computed. An exact search keeps its pages whole: it may come back to any of them.
    fn give_back_windowed(&mut self, pool: &mut PagePool) {
        if matches!(&self.sequence.lines, Lines::Beams(beams) if beams.search.drops_none()) {
            return;
        }
        let (behind, prompt) = (pool.pieces().pages_behind(self.computed), prompt_pages(&self.sequence));
        let GivenBack { of_prompt, after } = self.given_back;
        self.given_back.of_prompt += self.give_back(of_prompt..behind.min(prompt), pool);
        self.given_back.after += self.give_back(prompt + after..behind, pool);
    }

    /// Gives back the pieces of sliding layers of these pages of every branch, up to the first one that other sequences
    /// own too. Returns the number of pages.
    fn give_back(&self, pages: Range<usize>, pool: &mut PagePool) -> usize {
        let mut given = 0;
        for index in pages {
            let pages = || self.branches.iter().map(|branch| branch.pages[index]);
            let owners = |page| pages().filter(|&other| other == page).count();
            if pages().any(|page| pool.references(page) as usize != owners(page)) {
                break;
            }
            pages().for_each(|page| pool.give_back_windowed(page));
            given += 1;
        }
        given
    }

    /// Whether a page of its branches gave back its pieces of sliding layers.
    pub(super) fn gave_back(&self, index: usize) -> bool {
        let GivenBack { of_prompt, after } = self.given_back;
        let prompt = prompt_pages(&self.sequence);
        index < of_prompt || (prompt..prompt + after).contains(&index)
    }
}

/// Whole pages of the decoder prompt, which other sequences may share.
fn prompt_pages(sequence: &Sequence) -> usize {
    sequence.request.asked.decoder_prompt.len() / PAGE_TOKENS
}
