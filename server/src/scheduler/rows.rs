//! Which sequences get target rows in a step, and the rows themselves.
//!
//! Called wherever a plan is made. Takes no pages: the rows written here have theirs.

use kernels::{BestAsk, Draw, PAGE_TOKENS, PageSpan};

use super::page_pool::PagePool;
use super::plan::{Output, Plan, RowToken, TargetRow, narrow};
use super::rules::RuleWriter;
use super::running::{Grant, Running};
use super::sequence::{Behind, Lines, RowOutput, Sequence};
use super::state::Scheduler;

impl Scheduler {
    /// Shares out the rows of the step. Sequences that owe one row come first, so that no stream stalls; the rows that
    /// are left go to sequences that owe more: to the oldest of all, to searches that found no room in the last step,
    /// and then to the others, oldest first.
    pub(super) fn grant_rows(&mut self) {
        let mut rows_left = self.limits.step_rows;
        for running in &mut self.running {
            let owed = running.owed();
            let runs = self.memory.is_ready(running.source) && owed.rows == 1 && running.sequence.forced_tokens() == 0;
            running.next = if runs { owed } else { Grant::default() };
            rows_left -= running.next_rows();
        }
        let Self { running, memory, .. } = self;
        let owes = |running: &Running| memory.is_ready(running.source) && running.next.rows == 0;
        let mut order: Vec<usize> = (0..running.len()).filter(|&index| owes(&running[index])).collect();
        let oldest = usize::from(order.first() == Some(&0));
        order[oldest..].sort_by_key(|&index| !running[index].passed_over);
        for index in order {
            let running = &mut running[index];
            running.next = running.grant_within(rows_left);
            running.passed_over = running.is_search() && running.next.rows == 0 && running.owed().rows > 0;
            rows_left -= running.next_rows();
        }
    }

    /// Grants the rows that preempted sequences gave up to those that have none, as far as these have the pages.
    pub(super) fn grant_given_up_rows(&mut self) {
        let mut rows_left = self.rows_left();
        for running in &mut self.running {
            if running.next.rows > 0 || !self.memory.is_ready(running.source) {
                continue;
            }
            running.next = running.grant_within(rows_left);
            if running.missing_pages(&self.memory.pool) > 0 {
                running.next = Grant::default();
            }
            rows_left -= running.next_rows();
        }
    }

    /// Number of pages that the granted rows of all sequences lack.
    pub(super) fn missing_pages(&self) -> usize {
        self.running.iter().map(|running| running.missing_pages(&self.memory.pool)).sum()
    }

    /// Number of rows of the step that are not granted.
    pub(super) fn rows_left(&self) -> usize {
        self.limits.step_rows - self.running.iter().map(Running::next_rows).sum::<usize>()
    }

    /// Writes all granted rows, oldest sequence first.
    pub(super) fn write_rows(&mut self, plan: &mut Plan) {
        let mut drawn = 0;
        let Self { running, memory, rules, step, .. } = self;
        rules.begin();
        for running in running {
            let draw = drawn;
            drawn += u32::from(running.draws() && !running.is_search());
            if running.next.rows == 0 {
                continue;
            }
            let source = memory.sources.get_mut(running.source);
            let tables = &mut plan.targets.tables;
            let cross_span = PageSpan {
                first: source.list_pages(*step, &memory.pool, tables),
                tokens: narrow(source.key().tokens()),
            };
            for index in 0..running.branches.len() {
                if running.next_positions(index).is_empty() {
                    continue;
                }
                assert_writable(running, index, &memory.pool);
                let first_page = memory.pool.list(&running.branches[index].pages, &mut plan.targets.tables);
                let row = |token, position| TargetRow { token, position, first_page, cross_span };
                if running.next.follows_draw {
                    write_drawn(running, row(RowToken::Drawn(draw), running.position()), rules, plan);
                } else {
                    write_known(KnownRows { running, branch: index, rules }, row, plan);
                }
            }
        }
    }
}

/// Asserts that nobody else owns the pages that the granted rows of a branch write, except whole pages of its decoder
/// prompt: other sequences that share those read them only.
fn assert_writable(running: &Running, branch: usize, pool: &PagePool) {
    let positions = running.next_positions(branch);
    let (first, last) = (positions.start, positions.end - 1);
    let prompt_pages = running.sequence.request.asked.decoder_prompt.len() / PAGE_TOKENS;
    let written = &running.branches[branch].pages[first / PAGE_TOKENS..=last / PAGE_TOKENS];
    let written = &written[prompt_pages.saturating_sub(first / PAGE_TOKENS).min(written.len())..];
    assert!(written.iter().all(|&page| pool.references(page) == 1), "a page that is shared is not written");
}

/// Writes the row of a token that the previous plan draws.
fn write_drawn(running: &Running, row: TargetRow, rules: &mut RuleWriter, plan: &mut Plan) {
    let sequence = &running.sequence;
    let row = plan.targets.push(row);
    let generated = sequence.generated_tokens() + 1;
    let rule = rules.without_tokens(&sequence.request, generated, &mut plan.rules);
    write_draw(sequence, row, sequence.draw_after(generated, rule), plan);
}

/// Rows of a branch whose tokens are known, drafted or without a choice.
struct KnownRows<'a> {
    running: &'a mut Running,
    branch: usize,
    rules: &'a mut RuleWriter,
}

/// Writes the rows of tokens that are known, drafted or without a choice.
fn write_known(known: KnownRows<'_>, row: impl Fn(RowToken, usize) -> TargetRow, plan: &mut Plan) {
    let KnownRows { running, branch, rules } = known;
    for position in running.next_positions(branch) {
        let row = plan.targets.push(row(RowToken::Known(running.token(branch, position)), position));
        let sequence = &mut running.sequence;
        match sequence.output(position) {
            RowOutput::Nothing => {}
            RowOutput::Score { .. } => {
                plan.outputs.push(Output { row, is_scored: true, draw: None, best: None });
            }
            RowOutput::Sample if matches!(sequence.lines, Lines::Beams(_)) => {
                let forced = position + 1 - sequence.tokens();
                write_best(sequence, Behind { branch, forced }, row, rules, plan);
            }
            RowOutput::Sample => {
                // Behind a drafted token more are generated than there are.
                let generated = sequence.generated_tokens() + position + 1 - sequence.tokens();
                let rule = if position < sequence.tokens() {
                    sequence.add_rule(branch, rules, plan)
                } else {
                    rules.without_tokens(&sequence.request, generated, &mut plan.rules)
                };
                write_draw(sequence, row, sequence.draw_after(generated, rule), plan);
            }
        }
    }
}

/// Writes the output of a target row from which candidates for a search are read: where the next token is without a
/// choice, that one only.
fn write_best(sequence: &mut Sequence, at: Behind, row: u32, rules: &mut RuleWriter, plan: &mut Plan) {
    let rule = sequence.add_rule_behind(at, rules, plan);
    let Lines::Beams(beams) = &sequence.lines else { return };
    let is_last = at.forced == sequence.forced(at.branch).len();
    let count = if is_last { narrow(beams.search.candidates(at.branch)) } else { 1 };
    let best = Some(BestAsk { row: narrow(plan.outputs.len()), count, rule });
    let is_scored = sequence.request.asked.log_probs.is_some();
    plan.outputs.push(Output { row, is_scored, draw: None, best });
}

/// Writes the output of a target row from which a token of the sequence is drawn.
fn write_draw(sequence: &Sequence, row: u32, draw: Draw, plan: &mut Plan) {
    let draw = Some(Draw { row: narrow(plan.outputs.len()), ..draw });
    plan.outputs.push(Output { row, is_scored: sequence.request.asked.log_probs.is_some(), draw, best: None });
}
