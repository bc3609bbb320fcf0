//! Choices of one request that begin with the same decoder prompt: one runs it, the others take over its whole pages.
//!
//! Called wherever a plan is made, once the rows of older sequences are certain. A row may read keys and values that
//! another row of the same step writes, so the others need not wait for the next step.

use kernels::PAGE_TOKENS;

use super::running::Running;
use super::state::Scheduler;

impl Scheduler {
    /// Lets every sequence that is about to run its first rows share the decoder prompt of an older one.
    pub(super) fn share_prompts(&mut self) {
        for index in 1..self.running.len() {
            self.share_prompt(index);
        }
    }

    /// Gives the sequence of this index the whole pages of its decoder prompt that an older choice of its request has
    /// computed, or computes in this plan. The prompt's last position is not among them: its row draws. A prompt that
    /// is scored is run by every choice.
    pub(super) fn share_prompt(&mut self, index: usize) {
        let (older, [younger, ..]) = self.running.split_at_mut(index) else { return };
        let asked = &younger.sequence.request.asked;
        let pages = asked.decoder_prompt.len() / PAGE_TOKENS;
        if pages == 0 || younger.next.rows == 0 || younger.position() > 0 || asked.scores_prompt() {
            return;
        }
        let positions = pages * PAGE_TOKENS;
        let id = younger.sequence.request.id;
        let has_computed =
            |older: &&Running| older.sequence.request.id == id && older.position() + older.next.rows >= positions;
        let Some(older) = older.iter().find(has_computed) else { return };
        let shared = &older.branches[0].pages[..pages];
        let own = &mut younger.branches[0].pages[..pages];
        let pool = &mut self.memory.pool;
        pool.retain(shared);
        pool.release(own);
        own.copy_from_slice(shared);
        younger.computed = positions;
        younger.next.rows = younger.next.rows.min(younger.owed().rows);
    }
}
