//! The end of a step: drawn tokens become events, or the step failed.
//!
//! Called by the engine thread once for every plan.

use std::collections::HashMap;

use kernels::Candidate;

use super::event::{Event, NoToken, ScoreAt, TokenScoreAt};
use super::page_pool::PagePool;
use super::place::Move;
use super::plan::{Output, Plan, narrow};
use super::running::{Grant, Running};
use super::sequence::{Lines, RowOutput, Selection, Sequence};
use super::state::{OpenRequest, Scheduler};
use crate::request::{FinishReason, Rating, RequestId};

impl Scheduler {
    /// Takes what was found for the plan's outputs and appends what happened to `events`. An output without a token or
    /// candidates ends its request, and no other; a row whose mask was late runs again once the mask is seen. Finished
    /// sequences release their pages. Encoder requests are over with the plan that reads their results.
    ///
    /// # Panics
    /// When there are fewer tokens than draws, or fewer lists than outputs of beam searches.
    pub fn commit(&mut self, found: Found<'_>, events: &mut Vec<Event>) {
        self.plans_under_way -= 1;
        if self.plans_under_way == 0 {
            self.memory.finish_encoding();
        }
        self.end_cancelled();
        events.append(&mut self.announced);
        self.memory.encoder.deliver(events);
        let first = events.len();
        let mut results = Results {
            requests: &self.requests,
            pool: &mut self.memory.pool,
            chosen: found.chosen.iter(),
            best: found.best,
            plan: found.plan,
            vocabulary: self.tokens.vocabulary,
            late: found.late,
            logits_rows: 0,
            moves: &mut self.moves,
            events,
        };
        for running in &mut self.running {
            results.apply(running);
        }
        for event in &events[first..] {
            match *event {
                Event::Failed { request, .. } => self.end(Selection { request, choice: None }),
                Event::Drafted { drafted, accepted, .. } => {
                    self.drafts += 1;
                    self.drafted += u64::from(drafted);
                    self.accepted += u64::from(accepted);
                }
                _ => {}
            }
        }
        self.sweep();
    }

    /// Requests of running sequences whose source has been encoded since the last call.
    pub fn take_encoded(&mut self) -> Vec<RequestId> {
        let ready = self.memory.encoder.take_ready();
        let holders = self.running.iter().filter(|running| !running.ended && ready.contains(&running.source));
        let mut requests: Vec<_> = holders.map(request_of).collect();
        requests.sort_unstable();
        requests.dedup();
        requests
    }

    /// The plan could not be run, nor one made ahead of it. Requests with work in it are cancelled and appended to
    /// `failed`; the others go on as if it had not been made. After a call of [`Self::plan_ahead`] the encoder has to
    /// have run its part all the same: what the plan encodes counts as encoded from then on.
    pub fn fail_step(&mut self, failed: &mut Vec<RequestId>) {
        self.plans_under_way = 0;
        self.end_cancelled();
        let first = failed.len();
        let live = || self.running.iter().filter(|running| !running.ended);
        let has_work = |running: &&Running| running.granted.rows > 0 || running.relies_on_plans;
        failed.extend(live().filter(has_work).map(request_of));
        for source in self.memory.encoder.fail(failed) {
            failed.extend(live().filter(|running| running.source == source).map(request_of));
            let waiting = self.queue.waiting.iter().filter(|waiting| waiting.source == Some(source));
            failed.extend(waiting.map(|waiting| waiting.sequence.request.id));
        }
        for running in &mut self.running {
            (running.granted, running.next) = (Grant::default(), Grant::default());
            running.draft.clear();
        }
        failed[first..].sort_unstable();
        failed.dedup();
        for &request in &failed[first..] {
            self.end(Selection { request, choice: None });
        }
        self.sweep();
    }
}

fn request_of(running: &Running) -> RequestId {
    running.sequence.request.id
}

/// Results that an executor found for the outputs of a plan, in their order.
#[derive(Debug, Clone, Copy)]
pub struct Found<'a> {
    /// A token for each draw; `None` where there is none.
    pub chosen: &'a [Option<u32>],
    /// The best candidates for each output of a beam search; empty where there are none.
    pub best: &'a [Vec<Candidate>],
    /// The plan, with the rules that its rows were drawn under.
    pub plan: &'a Plan,
    /// Outputs that came before their masks, ascending: what was found there does not count.
    pub late: &'a [u32],
}

/// Turns a step's results into events, in the order in which the plan listed its rows.
pub(super) struct Results<'a> {
    pub requests: &'a HashMap<RequestId, OpenRequest>,
    pub pool: &'a mut PagePool,
    pub chosen: std::slice::Iter<'a, Option<u32>>,
    /// Lists that were not passed.
    pub best: &'a [Vec<Candidate>],
    /// The plan that was run.
    pub plan: &'a Plan,
    /// Number of ids of the model.
    pub vocabulary: u32,
    pub late: &'a [u32],
    /// Logits rows that were passed.
    pub logits_rows: u32,
    pub moves: &'a mut Vec<Move>,
    pub events: &'a mut Vec<Event>,
}

impl Results<'_> {
    /// Moves a sequence on by its granted rows. Rows of an ended sequence are passed over.
    fn apply(&mut self, running: &mut Running) {
        running.relies_on_plans = false;
        if running.granted.rows == 0 {
            return running.move_on();
        }
        if running.granted.follows_draw && running.ended {
            // The sequence ended after this row was planned, so its token is discarded.
            self.next_logits_row();
            self.chosen.next();
            return running.move_on();
        }
        for position in running.computed..running.position() {
            match running.sequence.output(position) {
                RowOutput::Nothing => {}
                RowOutput::Score { next, top } => {
                    let score = ScoreAt { logits_row: self.next_logits_row(), top };
                    if !running.ended {
                        self.score(running, next, score);
                    }
                }
                RowOutput::Sample if self.waits_for_masks(running) => break,
                RowOutput::Sample if running.is_search() => {
                    self.expand(running);
                    break;
                }
                RowOutput::Sample => {
                    self.verify(running);
                    // The tokens made the sequence longer; the row of the last one belongs to the next step.
                    break;
                }
            }
        }
        running.move_on();
        if !running.ended && running.is_at_fork() {
            let branches = running.sequence.branches();
            running.fork(std::iter::repeat_n(0, branches), self.pool);
        }
        let request = &running.sequence.request;
        if !running.ended && request.asked.max_tokens == 0 && running.computed == request.target_positions() {
            self.finish(running, FinishReason::Length);
        }
    }

    pub(super) const fn next_logits_row(&mut self) -> u32 {
        let row = self.logits_rows;
        self.logits_rows += 1;
        row
    }

    fn score(&mut self, running: &mut Running, token: u32, score: ScoreAt) {
        let sequence = &mut running.sequence;
        sequence.scored += 1;
        let request = sequence.request.id;
        if let Lines::Beams(_) = &sequence.lines {
            return self.tell_each(&sequence.request, |choice| Event::Scored { request, choice, token, score });
        }
        self.events.push(Event::Scored { request, choice: sequence.choice, token, score });
    }

    /// Whether masks of the sequence were late. What was found is passed over, and the last row of each branch does not
    /// count: it runs again.
    fn waits_for_masks(&mut self, running: &mut Running) -> bool {
        let outputs = self.logits_rows..self.logits_rows + narrow(running.outputs());
        if !outputs.clone().any(|output| self.late.contains(&output)) {
            return false;
        }
        self.logits_rows = outputs.end;
        if running.is_search() {
            self.best = &self.best[running.outputs()..];
        } else {
            self.chosen.next();
        }
        running.granted.rows -= 1;
        true
    }

    /// Adds a token that was drawn.
    pub(super) fn token(&mut self, running: &mut Running, token: u32, logits_row: u32) {
        let top = running.sequence.request.asked.log_probs;
        let score = top.map(|top| TokenScoreAt::Logits(ScoreAt { logits_row, top }));
        let sequence = &mut running.sequence;
        sequence.extend(&[token]);
        let Sequence { request, choice, .. } = &*sequence;
        self.events.push(Event::Token { request: request.id, choice: *choice, token, score });
        if request.ends.ends(token) {
            self.finish(running, FinishReason::Stop);
        } else if sequence.generated_tokens() >= request.asked.max_tokens as usize {
            self.finish(running, FinishReason::Length);
        } else {
            sequence.move_from(&[0], self.moves);
        }
    }

    /// Why the output of this logits row has no token and no candidate.
    pub(super) fn no_token(&self, logits_row: u32) -> NoToken {
        let Output { draw, best, .. } = &self.plan.outputs[logits_row as usize];
        let rule = draw.and_then(|draw| draw.rule).or_else(|| best.and_then(|best| best.rule));
        let may_choose = self.plan.rules.of(rule).leaves_any(self.vocabulary);
        if may_choose { NoToken::NotFinite } else { NoToken::NothingLeft }
    }

    pub(super) fn fail(&mut self, running: &mut Running, cause: NoToken) {
        running.ended = true;
        self.events.push(Event::Failed { request: running.sequence.request.id, cause });
    }

    fn finish(&mut self, running: &mut Running, reason: FinishReason) {
        running.ended = true;
        let sequence = &running.sequence;
        let request = sequence.request.id;
        if let Lines::Beams(_) = &sequence.lines {
            // A search ends here where no token was wanted.
            let asked = &sequence.request.asked;
            let rating = Rating::of_no_tokens(asked.searches_targets().then_some(true));
            self.tell_each(&sequence.request, |choice| Event::Rated { request, choice, rating });
            return self.tell_each(&sequence.request, |choice| Event::Finished { request, choice, reason });
        }
        self.events.push(Event::Finished { request, choice: sequence.choice, reason });
    }
}
