//! A beam search of a sequence: the pure search, with what else its branches have of their tokens.
//!
//! Kept by `sequence` through preemption; moved on by `expansion`.

use kernels::Candidate;

use super::beams::{Host, Search, SearchBounds};
use super::event::{Event, HeldScore, ScoreAt};
use super::sequence::Request;
use crate::request::{StopCheck, StopScan};

/// A beam search under way.
#[derive(Debug)]
pub struct Beams {
    /// Its branches and hypotheses.
    pub search: Search,
    /// Number of tokens on which all of them agree and that were delivered.
    pub sent: usize,
    /// The text of each branch, where the request has stop strings; empty without.
    stops: Vec<Box<dyn StopScan>>,
}

/// Candidates that were read for each branch, and where.
#[derive(Debug, Clone, Copy)]
pub struct FoundCandidates<'a> {
    /// A list for each branch.
    pub lists: &'a [Vec<Candidate>],
    /// The logits row of the first branch; those of the others follow.
    pub logits_row: u32,
}

impl Beams {
    /// The search of a request, before its first token; `None` when it asks for none.
    pub fn of(request: &Request) -> Option<Self> {
        let asked = &request.asked;
        let bounds = SearchBounds { max_tokens: asked.max_tokens as usize, end_ids: request.ends.count() };
        let stops = asked.stop.iter().map(StopCheck::start).collect();
        asked.beams.map(|beams| Self { search: Search::new(beams, bounds), sent: 0, stops })
    }

    /// Takes the best candidates of each branch, as [`Search::advance`] does. `events` gets the scores that are to be
    /// read for tokens that are kept.
    pub fn advance(&mut self, request: &Request, found: FoundCandidates<'_>, events: &mut Vec<Event>) -> Vec<usize> {
        let mut host = BranchTexts { request, stops: &self.stops, logits_row: found.logits_row, events };
        let parents = self.search.advance(found.lists, &mut host);
        self.fork_stops(&parents);
        parents
    }

    /// Gives each branch that goes on the text of its parent, moved on by its own last token.
    fn fork_stops(&mut self, parents: &[usize]) {
        if self.stops.is_empty() {
            return;
        }
        let fork = |(branch, &parent): (usize, &usize)| {
            let mut scan = self.stops[parent].fork();
            self.search.tokens(branch).last().into_iter().for_each(|&token| _ = scan.push(token));
            scan
        };
        self.stops = parents.iter().enumerate().map(fork).collect();
    }
}

/// The branches of a search before their next tokens, as the search asks for them.
struct BranchTexts<'a> {
    request: &'a Request,
    stops: &'a [Box<dyn StopScan>],
    logits_row: u32,
    events: &'a mut Vec<Event>,
}

impl Host for BranchTexts<'_> {
    fn ends(&self, branch: usize, token: u32) -> bool {
        let completes = || self.stops.get(branch).is_some_and(|scan| scan.fork().push(token));
        self.request.ends.ends(token) || completes()
    }

    fn keep(&mut self, branch: usize, token: u32) -> Option<HeldScore> {
        let top = self.request.asked.log_probs?;
        let score = ScoreAt { logits_row: self.logits_row + branch as u32, top };
        let held = HeldScore::default();
        self.events.push(Event::Kept { request: self.request.id, token, score, held: held.clone() });
        Some(held)
    }
}
