//! A beam search of a sequence: the pure search, with what else its branches have of their tokens.
//!
//! Kept by `sequence` through preemption; moved on by `expansion`.

use kernels::Candidate;

use super::beams::{Beam, BestFirst, ExactBounds, Host, Next, Search, SearchBounds};
use super::event::{Event, HeldScore, ScoreAt};
use super::place::Place;
use super::sequence::Request;
use crate::request::{StopCheck, StopScan};

/// A beam search under way.
#[derive(Debug)]
pub struct Beams {
    /// Its branches and hypotheses.
    pub search: Search,
    /// Number of tokens that each choice was told: some of those on which all branches and hypotheses agree.
    pub told: Vec<usize>,
    /// The text of each branch, where the request has stop strings; empty without.
    stops: Vec<Box<dyn StopScan>>,
}

/// Candidates that were read for each branch, and where.
#[derive(Debug, Clone, Copy)]
pub struct FoundCandidates<'a> {
    /// A list for each branch, after those of its tokens without a choice.
    pub lists: &'a [Vec<Candidate>],
    /// The logits row of the first branch; those of the others follow.
    pub logits_row: u32,
}

impl Beams {
    /// The search of a request, before its first token; `None` when it asks for none.
    pub fn of(request: &Request) -> Option<Self> {
        let asked = &request.asked;
        let beams = asked.beams?;
        let max_tokens = asked.max_tokens as usize;
        let search = match asked.exact_search() {
            Some(longest) => {
                let (choices, steps) = (asked.choices as usize, asked.exact_steps as usize);
                Search::BestFirst(BestFirst::new(beams, ExactBounds { choices, max_tokens, steps, longest }))
            }
            None => Search::Beam(Beam::new(beams, SearchBounds { max_tokens, end_ids: request.ends.count() })),
        };
        Some(Self {
            search,
            told: vec![0; asked.choices as usize],
            stops: asked.stop.iter().map(StopCheck::start).collect(),
        })
    }

    /// Takes the best candidates of each branch, as [`Search::advance`] does. `places` are those of the branches in
    /// their constraint. `events` gets the scores that are to be read for tokens that are kept.
    pub fn advance(
        &mut self,
        request: &Request,
        places: &[Place],
        found: FoundCandidates<'_>,
        events: &mut Vec<Event>,
    ) -> Next {
        let mut host = Branches { request, places, stops: &self.stops, logits_row: found.logits_row, events };
        let are_forced = places.iter().any(|place| !place.forced.is_empty());
        let behind = are_forced.then(|| follow(&mut self.search, places, found.lists));
        let next = self.search.advance(behind.as_deref().unwrap_or(found.lists), &mut host);
        if let Some(stop) = &request.asked.stop {
            self.stops = (0..self.search.branches()).map(|branch| self.scanned(&next, branch, stop)).collect();
        }
        next
    }

    /// The text of a branch after a step.
    fn scanned(&self, next: &Next, branch: usize, stop: &StopCheck) -> Box<dyn StopScan> {
        let tokens = self.search.tokens(branch);
        let (mut scan, read) = match next {
            Next::GoOn(parents) => (self.stops[parents[branch]].fork(), tokens.len() - 1),
            Next::ComeBack | Next::Over => (stop.start(), 0),
        };
        tokens[read..].iter().for_each(|&token| _ = scan.push(token));
        scan
    }
}

/// Lets branches go on by their tokens without a choice, whose log-probabilities are first in `lists`. Returns the
/// candidates that follow; none where a control refuses one of the tokens.
fn follow(search: &mut Search, places: &[Place], mut lists: &[Vec<Candidate>]) -> Vec<Vec<Candidate>> {
    let mut candidates = Vec::with_capacity(places.len());
    for (branch, place) in places.iter().enumerate() {
        let (forced, [next, rest @ ..]) = lists.split_at(place.forced.len()) else {
            panic!("each branch has candidates");
        };
        lists = rest;
        candidates.push(if search.follow(branch, forced) { next.clone() } else { Vec::new() });
    }
    candidates
}

/// The branches of a search before their next tokens, as the search asks for them.
struct Branches<'a> {
    request: &'a Request,
    places: &'a [Place],
    stops: &'a [Box<dyn StopScan>],
    logits_row: u32,
    events: &'a mut Vec<Event>,
}

impl Host for Branches<'_> {
    fn ends(&self, branch: usize, token: u32) -> bool {
        let completes = || self.stops.get(branch).is_some_and(|scan| scan.fork().push(token));
        self.request.ends.ends(token) || completes()
    }

    fn longest(&self, branch: usize, token: u32) -> usize {
        self.places.get(branch).map_or(0, |place| place.longest_after(token))
    }

    fn keep(&mut self, branch: usize, token: u32) -> Option<HeldScore> {
        let top = self.request.asked.log_probs?;
        let score = ScoreAt { logits_row: self.logits_row + branch as u32, top };
        let held = HeldScore::default();
        self.events.push(Event::Kept { request: self.request.id, token, score, held: held.clone() });
        Some(held)
    }
}
