//! Which sequences get decoder rows in a step, and the rows themselves.
//!
//! Called by `plan`. Takes no pages: the rows written here have theirs.

use kernels::PageSpan;

use super::Scheduler;
use super::plan::{Plan, narrow};
use super::sequence::{RowOutput, Running};

impl Scheduler {
    /// Shares the step's rows out. Those who owe one row come first, so that no stream stalls; what is left goes
    /// to those who have more to compute, oldest first.
    pub(super) fn grant_rows(&mut self) {
        let mut rows_left = self.limits.step_rows;
        for running in &mut self.running {
            let runs = self.memory.is_ready(running.source) && running.owed() == 1;
            running.granted = usize::from(runs);
            rows_left -= running.granted;
        }
        for running in &mut self.running {
            if self.memory.is_ready(running.source) && running.owed() > 1 {
                running.granted = running.owed().min(rows_left);
                rows_left -= running.granted;
            }
        }
    }

    /// Rows of the step that nobody has yet.
    pub(super) fn rows_left(&self) -> usize {
        self.limits.step_rows - self.running.iter().map(|running| running.granted).sum::<usize>()
    }

    /// Writes all granted rows, oldest sequence first.
    pub(super) fn write_rows(&mut self, plan: &mut Plan) {
        for running in self.running.iter().filter(|running| running.granted > 0) {
            let source = self.memory.sources.get_mut(running.source);
            let cross = PageSpan {
                first: source.list_pages(self.step, &mut plan.tables),
                tokens: narrow(source.key().tokens()),
            };
            write_sequence(running, cross, plan);
        }
    }
}

fn write_sequence(running: &Running, cross: PageSpan, plan: &mut Plan) {
    let first = narrow(plan.tables.len());
    plan.tables.extend(running.pages.iter().map(|page| page.0));
    for position in running.computed..running.computed + running.granted {
        let row = narrow(plan.tokens.len());
        plan.tokens.push(running.sequence.token(position));
        plan.positions.push(narrow(position));
        plan.self_spans.push(PageSpan { first, tokens: narrow(position + 1) });
        plan.cross_spans.push(cross);
        match running.sequence.output(position) {
            RowOutput::Nothing => {}
            RowOutput::Score { .. } => {
                plan.logits_rows.push(row);
                plan.scored.push(true);
            }
            RowOutput::Sample(choice) => {
                plan.sampled.push(narrow(plan.logits_rows.len()));
                plan.choices.push(choice);
                plan.logits_rows.push(row);
                plan.scored.push(running.sequence.request.log_probs.is_some());
            }
        }
    }
}
