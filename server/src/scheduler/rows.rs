//! Which sequences get decoder rows in a step, and the rows themselves.
//!
//! Called wherever a plan is made. Takes no pages: the rows written here have theirs.

use kernels::{NO_PLACE, PageSpan};

use super::Scheduler;
use super::plan::{Plan, narrow};
use super::sequence::{Grant, RowOutput, Running};

impl Scheduler {
    /// Shares the step's rows out. Those who owe one row come first, so that no stream stalls; what is left goes
    /// to those who have more to compute, oldest first.
    pub(super) fn grant_rows(&mut self) {
        let mut rows_left = self.limits.step_rows;
        for running in &mut self.running {
            let owed = running.owed();
            let runs = self.memory.is_ready(running.source) && owed.rows == 1;
            running.next = if runs { owed } else { Grant::default() };
            rows_left -= running.next.rows;
        }
        for running in &mut self.running {
            let owed = running.owed();
            if self.memory.is_ready(running.source) && owed.rows > 1 {
                running.next = Grant { rows: owed.rows.min(rows_left), ..owed };
                rows_left -= running.next.rows;
            }
        }
    }

    /// Rows of the step that nobody has yet.
    pub(super) fn rows_left(&self) -> usize {
        self.limits.step_rows - self.running.iter().map(|running| running.next.rows).sum::<usize>()
    }

    /// Writes all granted rows, oldest sequence first.
    pub(super) fn write_rows(&mut self, plan: &mut Plan) {
        let mut drawn = 0;
        for running in &self.running {
            let place = drawn;
            drawn += u32::from(running.draws());
            if running.next.rows == 0 {
                continue;
            }
            let source = self.memory.sources.get_mut(running.source);
            let cross = PageSpan {
                first: source.list_pages(self.step, &mut plan.tables),
                tokens: narrow(source.key().tokens()),
            };
            if running.next.follows_draw {
                write_drawn(running, place, cross, plan);
            } else {
                write_known(running, cross, plan);
            }
        }
    }
}

/// The row of a token that the plan before draws, as the `place`-th of its draws.
fn write_drawn(running: &Running, place: u32, cross: PageSpan, plan: &mut Plan) {
    let first = list_pages(running, plan);
    let position = running.position();
    let row = push_row((0, place), position, PageSpan { first, tokens: narrow(position + 1) }, cross, plan);
    let sequence = &running.sequence;
    plan.sampled.push(narrow(plan.logits_rows.len()));
    plan.choices.push(sequence.choice_after(sequence.generated.len() + 1));
    plan.logits_rows.push(row);
    plan.scored.push(sequence.request.asked.log_probs.is_some());
}

fn write_known(running: &Running, cross: PageSpan, plan: &mut Plan) {
    let first = list_pages(running, plan);
    for position in running.position()..running.position() + running.next.rows {
        let token = (running.sequence.token(position), NO_PLACE);
        let row = push_row(token, position, PageSpan { first, tokens: narrow(position + 1) }, cross, plan);
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
                plan.scored.push(running.sequence.request.asked.log_probs.is_some());
            }
        }
    }
}

fn list_pages(running: &Running, plan: &mut Plan) -> u32 {
    let first = narrow(plan.tables.len());
    plan.tables.extend(running.pages.iter().map(|page| page.0));
    first
}

/// Which row it is.
fn push_row((token, place): (u32, u32), position: usize, own: PageSpan, cross: PageSpan, plan: &mut Plan) -> u32 {
    let row = narrow(plan.tokens.len());
    plan.tokens.push(token);
    plan.places.push(place);
    plan.positions.push(narrow(position));
    plan.self_spans.push(own);
    plan.cross_spans.push(cross);
    row
}
