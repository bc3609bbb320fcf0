//! The step after the one that is under way, as long as nothing but its tokens is unknown.
//!
//! Called by the engine thread where the device can run on without the host. Every running sequence gets a row, whether or not the
//! token that is being drawn ends it; what such a row draws is thrown away. Preempts nobody.

use kernels::{NO_PLACE, PageSpan};

use super::Scheduler;
use super::plan::{Plan, narrow};
use super::sequence::Running;

impl Scheduler {
    /// Writes the step that follows the plan under way, to be run after it and committed after it. False when there is none to be
    /// foreseen: somebody waits to be admitted or encoded, is cancelled, or has more to run than a token.
    ///
    /// # Panics
    /// Unless exactly one plan is under way.
    pub fn plan_ahead(&mut self, plan: &mut Plan) -> bool {
        assert_eq!(self.plans_under_way, 1, "a plan is made ahead of the only one under way");
        if !self.is_foreseeable() {
            return false;
        }
        for running in &mut self.running {
            running.ahead = runs_on(running);
        }
        let missing = self.running.iter().map(Running::missing_pages).sum::<usize>();
        let has_rows = self.running.iter().any(|running| running.ahead);
        if !has_rows || missing > self.memory.available() {
            self.running.iter_mut().for_each(|running| running.ahead = false);
            return false;
        }
        self.plans_under_way += 1;
        self.step += 1;
        plan.clear();
        for running in &mut self.running {
            self.memory.take(running.missing_pages(), &mut running.pages);
        }
        self.write_rows_ahead(plan);
        true
    }

    /// Whether the plan under way draws a token for each running sequence and does nothing else, and the next one will not admit.
    fn is_foreseeable(&self) -> bool {
        let admits = !self.waiting.is_empty() && self.running.len() < self.limits.running_rows;
        let draws = |running: &Running| {
            let wants_scores = running.sequence.request.log_probs.is_some();
            running.ended || running.granted == running.owed() && runs_to_draw(running) && !wants_scores
        };
        !admits && self.cancelled.is_empty() && self.memory.encoding.is_idle() && self.running.iter().all(draws)
    }

    fn write_rows_ahead(&mut self, plan: &mut Plan) {
        let under_way = self.running.iter().filter(|running| running.granted > 0);
        for (place, running) in (0..).zip(under_way).filter(|(_, running)| running.ahead) {
            let source = self.memory.sources.get_mut(running.source);
            let cross = PageSpan {
                first: source.list_pages(self.step, &mut plan.tables),
                tokens: narrow(source.key().tokens()),
            };
            let position = running.computed + running.granted;
            let own = PageSpan { first: narrow(plan.tables.len()), tokens: narrow(position + 1) };
            plan.tables.extend(running.pages.iter().map(|page| page.0));
            let row = narrow(plan.tokens.len());
            plan.tokens.push(0);
            plan.places.push(place);
            plan.positions.push(narrow(position));
            plan.self_spans.push(own);
            plan.cross_spans.push(cross);
            plan.logits_rows.push(row);
            plan.scored.push(false);
            plan.sampled.push(row);
            plan.choices.push(running.sequence.choice_after(running.sequence.generated.len() + 1));
        }
        debug_assert!(plan.places.iter().all(|&place| place != NO_PLACE), "every row follows a draw");
    }
}

/// Whether the last of the granted rows draws the sequence's next token.
fn runs_to_draw(running: &Running) -> bool {
    running.granted > 0 && running.computed + running.granted == running.sequence.tokens()
}

/// Whether a row follows the one that is under way, unless its token is the last.
fn runs_on(running: &Running) -> bool {
    let tokens_after = running.sequence.generated.len() + 1;
    !running.ended && runs_to_draw(running) && tokens_after < running.sequence.request.max_tokens as usize
}
