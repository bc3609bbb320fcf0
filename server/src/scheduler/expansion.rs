//! The end of a step of a beam search: branches part, end or go on, and events tell what is certain.
//!
//! Part of the commit. Every choice gets the tokens on which all branches and kept hypotheses agree as soon as they do,
//! and the rest of its hypothesis when the search is over.

use std::sync::Arc;

use kernels::Candidate;

use super::beams::{Beginning, Next, Search};
use super::commit::Results;
use super::event::{Event, TokenScoreAt};
use super::rules::forced;
use super::running::Running;
use super::searching::FoundCandidates;
use super::sequence::{Lines, Request, Sequence};
use crate::request::{FinishReason, Rating};

impl Results<'_> {
    /// Moves a beam search on by the candidates that were found for each of its branches. Those of an ended search are
    /// passed over.
    pub(super) fn expand(&mut self, running: &mut Running) {
        let (found, rest) = self.best.split_at(running.branches.len());
        self.best = rest;
        let logits_row = self.logits_rows;
        self.logits_rows += found.len() as u32;
        if running.ended {
            return;
        }
        let request = Arc::clone(&running.sequence.request);
        if is_at_its_end(&running.sequence, found) {
            return self.finish_search(running);
        }
        if is_stuck(&running.sequence, found) {
            return self.fail(running);
        }
        let forced = forced(&request.asked, running.sequence.generated_tokens()).map(|_| certain(found));
        let Sequence { lines: Lines::Beams(beams), places, .. } = &mut running.sequence else { return };
        let found = FoundCandidates { lists: forced.as_deref().unwrap_or(found), logits_row };
        match beams.advance(&request, places, found, self.events) {
            Next::GoOn(parents) => self.go_on(running, &parents),
            Next::ComeBack { branch, tokens } => self.come_back(running, branch, tokens),
            Next::Over if beams.search.kept().is_empty() => self.fail(running),
            Next::Over => self.finish_search(running),
        }
    }

    /// Goes on with branches of these parents, and tells the tokens on which all agree.
    fn go_on(&mut self, running: &mut Running, parents: &[usize]) {
        let request = Arc::clone(&running.sequence.request);
        let Lines::Beams(beams) = &mut running.sequence.lines else { return };
        let agreed = beams.search.agreed();
        for index in beams.sent..agreed.tokens.len() {
            self.tell_each(&request, |choice| token_event(&request, choice, agreed, index));
        }
        beams.sent = agreed.tokens.len();
        running.sequence.fork_histories(parents);
        if running.sequence.fork_places(parents).is_err() {
            return self.fail(running);
        }
        running.fork(parents.iter().copied(), self.pool);
    }

    /// Goes on with other branches, which share so many generated tokens with a branch that ran. Their last tokens are
    /// run in any case: candidates are found there.
    fn come_back(&mut self, running: &mut Running, branch: usize, tokens: usize) {
        if running.sequence.begin_branches().is_err() {
            return self.fail(running);
        }
        let shared = 1 + running.sequence.request.asked.decoder_prompt.len() + tokens;
        running.come_back(branch, shared.min(running.sequence.tokens() - 1), self.pool);
    }

    /// Gives each choice its hypothesis, best first.
    fn finish_search(&mut self, running: &mut Running) {
        running.ended = true;
        let (request, Lines::Beams(beams)) = (&running.sequence.request, &running.sequence.lines) else { return };
        let id = request.id;
        let is_finite = request.asked.constraint.as_ref().is_some_and(|constraint| constraint.longest().is_some());
        let is_exact = is_finite.then(|| beams.search.is_exact());
        for choice in self.heard(request) {
            let Some(hypothesis) = beams.search.kept().get(choice as usize) else {
                let rating = Rating { score: f32::NEG_INFINITY, log_prob: f32::NEG_INFINITY, is_exact };
                self.events.push(Event::Rated { request: id, choice, rating });
                self.events.push(Event::Finished { request: id, choice, reason: FinishReason::Stop });
                continue;
            };
            let rating = Rating { score: hypothesis.score, log_prob: hypothesis.log_prob, is_exact };
            self.events.push(Event::Rated { request: id, choice, rating });
            let all = Beginning { tokens: &hypothesis.tokens, held: &hypothesis.held };
            let rest = beams.sent..all.tokens.len();
            self.events.extend(rest.map(|index| token_event(request, choice, all, index)));
            self.events.push(Event::Finished { request: id, choice, reason: hypothesis.reason });
        }
    }

    /// Adds an event for each choice that was not cancelled.
    pub(super) fn tell_each(&mut self, request: &Request, event: impl Fn(u32) -> Event) {
        let choices = self.heard(request);
        self.events.extend(choices.into_iter().map(event));
    }

    /// Choices of a search that were not cancelled.
    fn heard(&self, request: &Request) -> Vec<u32> {
        let silent = self.requests.get(&request.id).map_or(&[][..], |open| &open.silent);
        (0..request.asked.choices).filter(|choice| !silent.contains(choice)).collect()
    }
}

/// Whether controls leave no branch of a beam search a candidate, and it has hypotheses.
fn is_at_its_end(sequence: &Sequence, found: &[Vec<Candidate>]) -> bool {
    let Lines::Beams(beams) = &sequence.lines else { return false };
    let is_beam = matches!(beams.search, Search::Beam(_));
    is_beam
        && sequence.request.asked.refuses_ids()
        && found.iter().all(Vec::is_empty)
        && !beams.search.kept().is_empty()
}

/// Whether a search cannot go on by these candidates: a branch without any shows that its logits are no numbers, unless
/// controls may have refused all ids.
fn is_stuck(sequence: &Sequence, found: &[Vec<Candidate>]) -> bool {
    let asked = &sequence.request.asked;
    let is_over = |list: &Vec<Candidate>| list.is_empty();
    match &sequence.lines {
        Lines::Beams(beams) if matches!(beams.search, Search::BestFirst(_)) => {
            !asked.controls.refuse_ids() && found.iter().any(is_over)
        }
        _ => found.iter().all(is_over) || !asked.refuses_ids() && found.iter().any(is_over),
    }
}

/// Candidates of which one is forced: transformers gives each the log-probability 0, so that the lowest id is first.
fn certain(found: &[Vec<Candidate>]) -> Vec<Vec<Candidate>> {
    let certain = |list: &Vec<Candidate>| {
        let mut list: Vec<_> = list.iter().map(|one| Candidate { log_prob: 0.0, ..*one }).collect();
        list.sort_by_key(|one| one.id);
        list
    };
    found.iter().map(certain).collect()
}

/// The event of the token of this index.
fn token_event(request: &Request, choice: u32, line: Beginning<'_>, index: usize) -> Event {
    let score = line.held.get(index).cloned().map(TokenScoreAt::Held);
    Event::Token { request: request.id, choice, token: line.tokens[index], score }
}
