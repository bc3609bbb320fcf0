//! The end of a step of a beam search: branches part, end or go on, and events tell what is certain.
//!
//! Part of the commit. Every choice that is certain to have a hypothesis gets the tokens on which all branches and kept
//! hypotheses agree as soon as they do, and the rest of its hypothesis when the search is over.

use std::sync::Arc;

use kernels::Candidate;

use super::beams::{Beginning, Next, Search};
use super::commit::Results;
use super::event::{Event, NoToken, TokenScoreAt};
use super::rules::forced;
use super::running::Running;
use super::searching::FoundCandidates;
use super::sequence::{Lines, Request, Sequence};
use crate::request::{FinishReason, Rating};

impl Results<'_> {
    /// Moves a beam search on by the candidates that were found for each of its branches. Those of an ended search are
    /// passed over.
    pub(super) fn expand(&mut self, running: &mut Running) {
        let (found, rest) = self.best.split_at(running.outputs());
        self.best = rest;
        let logits_row = self.logits_rows;
        self.logits_rows += found.len() as u32;
        if running.ended {
            return;
        }
        let request = Arc::clone(&running.sequence.request);
        let is_not_finite = |(row, list): (u32, &Vec<Candidate>)| {
            list.is_empty() && self.no_token(logits_row + row) == NoToken::NotFinite
        };
        if (0..).zip(found).any(is_not_finite) {
            return self.fail(running, NoToken::NotFinite);
        }
        match ending(&running.sequence, found) {
            Some(Ending::Finish) => return self.finish_search(running),
            Some(Ending::Fail) => return self.fail(running, NoToken::NothingLeft),
            None => {}
        }
        let forced = forced(&request.asked, running.sequence.generated_tokens()).map(|_| certain(found));
        let Sequence { lines: Lines::Beams(beams), places, .. } = &mut running.sequence else { return };
        let found = FoundCandidates { lists: forced.as_deref().unwrap_or(found), logits_row };
        match beams.advance(&request, places, found, self.events) {
            Next::GoOn(parents) => self.go_on(running, &parents),
            Next::ComeBack => self.come_back(running),
            Next::Over => self.finish_search(running),
        }
    }

    /// Goes on with branches of these parents, and tells the tokens on which all agree.
    fn go_on(&mut self, running: &mut Running, parents: &[usize]) {
        let request = Arc::clone(&running.sequence.request);
        let Lines::Beams(beams) = &mut running.sequence.lines else { return };
        let agreed = beams.search.agreed();
        // Where ids are refused, branches may die out: the first choice has a hypothesis if there is any.
        let certain = if request.asked.refuses_ids() { beams.search.kept().len().max(1) } else { usize::MAX };
        for choice in self.heard(&request).into_iter().take_while(|&choice| (choice as usize) < certain) {
            let told = &mut beams.told[choice as usize];
            let news = *told..agreed.tokens.len();
            *told = agreed.tokens.len();
            self.events.extend(news.map(|index| token_event(&request, choice, agreed, index)));
        }
        running.sequence.fork_histories(parents);
        running.sequence.move_from(parents, self.moves);
        running.keep_stems(self.pool);
        running.fork(parents.iter().copied(), self.pool);
        // Behind tokens without a choice more positions were run than were granted.
        running.granted.rows = running.sequence.tokens() - 1 - running.computed;
    }

    /// Goes on with other branches than those that ran.
    fn come_back(&mut self, running: &mut Running) {
        running.sequence.begin_histories();
        running.sequence.move_from_start(self.moves);
        running.come_back(self.pool);
    }

    /// Gives each choice its hypothesis, best first. A search without any fails: nothing could follow, or it found none
    /// in time.
    fn finish_search(&mut self, running: &mut Running) {
        running.ended = true;
        let (request, Lines::Beams(beams)) = (&running.sequence.request, &running.sequence.lines) else { return };
        if beams.search.kept().is_empty() {
            let is_cut = beams.search.drops_none() && !beams.search.is_exact();
            return self.fail(running, if is_cut { NoToken::OutOfSteps } else { NoToken::NothingLeft });
        }
        let id = request.id;
        let is_exact = request.asked.searches_targets().then(|| beams.search.is_exact());
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
            let rest = beams.told[choice as usize]..all.tokens.len();
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

/// How a search ends that cannot go on.
enum Ending {
    /// No branch of a beam search has a candidate: the hypotheses so far are its result.
    Finish,
    /// A branch of an exact search has none where only the constraint refuses ids, which leaves some wherever a target
    /// goes on.
    Fail,
}

/// Whether a search cannot go on by these candidates.
fn ending(sequence: &Sequence, found: &[Vec<Candidate>]) -> Option<Ending> {
    let Lines::Beams(beams) = &sequence.lines else { return None };
    let mut are_over = found.iter().map(Vec::is_empty);
    match &beams.search {
        Search::Beam(_) => are_over.all(|is_over| is_over).then_some(Ending::Finish),
        Search::BestFirst(_) if sequence.request.asked.controls.refuse_ids() => None,
        Search::BestFirst(_) => are_over.any(|is_over| is_over).then_some(Ending::Fail),
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
