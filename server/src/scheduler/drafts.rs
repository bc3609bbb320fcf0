//! Speculative decoding: rows for drafted tokens beside the row of a sequence's last token, and their verification.
//!
//! A draw depends on the tokens before it, its position and the request's seed. A row of a drafted token therefore
//! draws what a later step would have drawn, if the tokens before it are right: those that are, are kept, and the
//! others leave nothing behind but K/V that the next rows overwrite.

use super::commit::Results;
use super::event::Event;
use super::plan::narrow;
use super::running::Running;
use super::state::Scheduler;

impl Scheduler {
    /// Fills the step with rows of drafted tokens, oldest sequence first, as far as rows and pages are left that nobody
    /// else needs.
    pub(super) fn grant_drafts(&mut self) {
        let granted = self.limits.step_rows - self.rows_left();
        let mut rows = self.limits.draft_rows.min(self.limits.step_rows).saturating_sub(granted);
        if rows == 0 {
            return;
        }
        let needed = self.running.iter().map(Running::missing_pages).sum();
        let mut pages = self.memory.available().saturating_sub(needed);
        for running in self.running.iter_mut().filter(|running| running.draws_next()) {
            let before = running.missing_pages();
            let source = &self.memory.sources.get(running.source).key().ids;
            running.draft = running.sequence.draft(source, rows);
            running.next.rows += running.draft.len();
            let taken = running.missing_pages() - before;
            if taken > pages {
                running.next.rows -= std::mem::take(&mut running.draft).len();
                continue;
            }
            (rows, pages) = (rows - running.draft.len(), pages - taken);
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
            self.judge(running, draft.len(), accepted);
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

    fn judge(&mut self, running: &mut Running, drafted: usize, accepted: usize) {
        let sequence = &mut running.sequence;
        if let Some(drafter) = &mut sequence.drafter {
            drafter.judge(drafted, accepted);
        }
        let (request, choice) = (sequence.request.id, sequence.choice);
        let (drafted, accepted) = (narrow(drafted), narrow(accepted));
        self.events.push(Event::Drafted { request, choice, drafted, accepted });
    }
}
