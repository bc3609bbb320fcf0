//! Targets of one source that begin alike: one sequence runs the beginning, the others take over its whole pages.
//!
//! Called wherever a plan is made, once the rows of older sequences are certain. A row may read keys and values that
//! another row of the same step writes, so the others need not wait for the next step.

use kernels::PAGE_TOKENS;

use super::running::Running;
use super::sequence::Sequence;
use super::state::Scheduler;

impl Scheduler {
    /// Lets every sequence that is about to run its first rows share the beginning of an older one.
    pub(super) fn share_prompts(&mut self) {
        for index in 1..self.running.len() {
            self.share_prompt(index);
        }
    }

    /// Gives the sequence of this index the whole pages of its decoder prompt that an older sequence with the same
    /// source and the same beginning has computed, or computes in this plan: as many as one such sequence has. The
    /// prompt's last position is not among them, because its row draws, nor any whose score is still to be delivered.
    /// What the older one gave back must lie behind the window of the first row that the younger one runs.
    pub(super) fn share_prompt(&mut self, index: usize) {
        let (older, [younger, ..]) = self.running.split_at_mut(index) else { return };
        if younger.next.rows == 0 || younger.position() > 0 {
            return;
        }
        let most = shareable_pages(&younger.sequence);
        let (mut best, mut pages, pieces) = (None, 0, self.memory.pool.pieces());
        // Targets of one call come in an order in which neighbours begin alike.
        for older in older.iter().rev().filter(|older| older.source == younger.source) {
            if pages == most {
                break;
            }
            let common = common_pages(older, younger).min(most);
            let are_whole = older.given_back.of_prompt <= pieces.pages_behind(common * PAGE_TOKENS);
            if common > pages && are_whole {
                (best, pages) = (Some(older), common);
            }
        }
        let Some(older) = best else { return };
        let shared = &older.branches[0].pages[..pages];
        let own = &mut younger.branches[0].pages[..pages];
        let pool = &mut self.memory.pool;
        pool.retain(shared);
        pool.release(own);
        own.copy_from_slice(shared);
        let granted = younger.next_rows();
        younger.relies_on_plans = older.relies_on_plans || older.computed < pages * PAGE_TOKENS;
        younger.computed = pages * PAGE_TOKENS;
        younger.given_back.of_prompt = older.given_back.of_prompt;
        younger.next = younger.grant_within(granted);
    }
}

/// Most whole pages that a sequence may take over.
fn shareable_pages(sequence: &Sequence) -> usize {
    let asked = &sequence.request.asked;
    let known = if asked.scores_prompt() { sequence.scored } else { usize::MAX };
    asked.decoder_prompt.len().min(known) / PAGE_TOKENS
}

/// Whole pages of the beginning that both targets have in common and that the older one has computed, or computes in
/// the plan being made. Both targets have a position more than their decoder prompts: that of the start token.
fn common_pages(older: &Running, younger: &Running) -> usize {
    let [one, other] = [older, younger].map(|running| &running.sequence.request.asked.decoder_prompt);
    let equal = one.iter().zip(other).take_while(|(one, other)| one == other).count();
    equal.min(older.position() + older.next.rows) / PAGE_TOKENS
}
