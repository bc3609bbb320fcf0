//! Speculative decoding: rows for drafted tokens beside the row of a sequence's last token, and their verification.
//!
//! A draw depends on the tokens before it, its position and the request's seed. A row of a drafted token therefore
//! draws what a later step would have drawn, if the tokens before it are right: those that are, are kept, and the
//! others leave nothing behind but K/V that the next rows overwrite.

use super::commit::Results;
use super::draft_lengths::StepRows;
use super::drafter::Draft;
use super::event::Event;
use super::memory::Memory;
use super::plan::narrow;
use super::running::Running;
use super::state::Scheduler;

impl Scheduler {
    /// Fills the step with rows of drafted tokens where they pay, as far as rows and pages are left that nobody else
    /// needs.
    pub(super) fn grant_drafts(&mut self) {
        let granted = self.limits.step_rows - self.rows_left();
        let rows = StepRows { granted, most: self.limits.draft_rows.min(self.limits.step_rows) };
        if rows.most <= granted {
            return;
        }
        let needed = self.missing_pages();
        let mut pages = self.memory.available().saturating_sub(needed);
        let Memory { sources, pool, .. } = &self.memory;
        let drafting = |running: &&mut Running| running.draws_next();
        let drafts = self.running.iter_mut().filter(drafting).map(|running| {
            let source = &sources.get(running.source).key().ids;
            running.sequence.draft(source, rows.most - granted)
        });
        let mut drafts: Vec<Draft> = drafts.collect();
        rows.share(&mut drafts);
        for (running, draft) in self.running.iter_mut().filter(drafting).zip(drafts) {
            let before = running.missing_pages(pool);
            running.draft = draft.tokens;
            running.next.rows += running.draft.len();
            let taken = running.missing_pages(pool) - before;
            if taken > pages {
                running.next.rows -= std::mem::take(&mut running.draft).len();
            } else {
                pages -= taken;
            }
        }
    }
}

impl Running {
    /// Whether the next plan runs the row of its last token, and that only.
    fn draws_next(&self) -> bool {
        self.next.rows == 1 && self.position() + 1 == self.sequence.tokens() && !self.next.follows_draw
    }
}

impl Results<'_> {
    /// Adds the token that was drawn after a choice's last one, and those after drafted tokens as long as these are
    /// right. The rows of wrong ones do not count.
    pub(super) fn verify(&mut self, running: &mut Running) {
        let draft = std::mem::take(&mut running.draft);
        let drawn: Vec<Option<u32>> = self.chosen.by_ref().take(draft.len() + 1).copied().collect();
        assert_eq!(drawn.len(), draft.len() + 1, "one token is drawn for each draw of the plan");
        let accepted = draft.iter().zip(&drawn).take_while(|(drafted, drawn)| Some(**drafted) == **drawn).count();
        if !draft.is_empty() && !running.ended {
            let (request, choice) = (running.sequence.request.id, running.sequence.choice);
            let (drafted, accepted) = (narrow(draft.len()), narrow(accepted));
            self.events.push(Event::Drafted { request, choice, drafted, accepted });
        }
        for (index, token) in drawn.into_iter().enumerate() {
            let logits_row = self.next_logits_row();
            match token {
                _ if running.ended || index > accepted => {}
                Some(token) => self.token(running, token, logits_row),
                None => self.fail(running, self.no_token(logits_row)),
            }
        }
        running.granted.rows -= draft.len() - accepted;
    }
}
