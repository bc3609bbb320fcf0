//! A beam search: the steps of transformers' vectorised beam search over lists of candidates.
//!
//! Scores are sums in float32, as transformers computes them. Two things differ. Where fewer candidates exist than the
//! search is wide, transformers fills up with branches of score -10^9; here there are fewer branches. Where scores are
//! equal, transformers' order is that of its device; here the lower branch comes first, then the lower id.

use kernels::Candidate;

use super::host::Host;
use super::hypothesis::{Hypothesis, Kept};
use crate::request::{BeamSearch, EarlyStopping, FinishReason};
use crate::scheduler::event::HeldScore;

/// Bounds of a search.
#[derive(Debug, Clone, Copy)]
pub struct SearchBounds {
    /// Most tokens of a hypothesis, at least one.
    pub max_tokens: usize,
    /// Number of ids that end a hypothesis.
    pub end_ids: usize,
}

/// The branches of a search, and the hypotheses that it keeps.
#[derive(Debug)]
pub struct Beam {
    asked: BeamSearch,
    bounds: SearchBounds,
    /// Branches that go on, best first, all of the same length.
    live: Vec<Line>,
    kept: Kept,
}

/// Tokens of a branch after the decoder prompt, and the sum of their edited log-probabilities.
#[derive(Debug, Clone)]
struct Line {
    tokens: Vec<u32>,
    log_prob: f32,
    held: Vec<HeldScore>,
}

/// The first tokens of a branch.
#[derive(Debug, Clone, Copy, Default)]
pub struct Beginning<'a> {
    /// The tokens.
    pub tokens: &'a [u32],
    /// Places of their log-probabilities; empty where none are wanted.
    pub held: &'a [HeldScore],
}

impl Beginning<'_> {
    /// The first `count` tokens of these.
    fn first(self, count: usize) -> Self {
        Self { tokens: &self.tokens[..count], held: self.held.get(..count).unwrap_or_default() }
    }
}

/// A token that may follow a branch.
#[derive(Debug, Clone, Copy)]
struct Continuation {
    branch: usize,
    token: u32,
    /// The branch's sum and the token's log-probability.
    log_prob: f32,
}

impl Beam {
    /// A search with one branch that has no tokens.
    pub fn new(asked: BeamSearch, bounds: SearchBounds) -> Self {
        let start = Line { tokens: Vec::new(), log_prob: 0.0, held: Vec::new() };
        Self { asked, bounds, live: vec![start], kept: Kept::new(asked.width as usize) }
    }

    /// Number of candidates that each branch must give: enough for a full width if every end token is among the best.
    pub const fn candidates(&self) -> usize {
        let per_branch = self.bounds.end_ids + 1;
        self.asked.width as usize * if per_branch < 2 { 2 } else { per_branch }
    }

    /// Number of branches that go on.
    pub const fn branches(&self) -> usize {
        self.live.len()
    }

    /// Number of tokens of each branch.
    pub fn len(&self) -> usize {
        self.live.first().map_or(0, |line| line.tokens.len())
    }

    /// Tokens of a branch.
    pub fn tokens(&self, branch: usize) -> &[u32] {
        &self.live[branch].tokens
    }

    /// Number of first tokens that all branches have in common.
    pub fn stem(&self) -> usize {
        common(self.live.iter().map(|line| line.tokens.as_slice()))
    }

    /// First tokens on which all branches and all kept hypotheses agree.
    pub fn agreed(&self) -> Beginning<'_> {
        let kept = self.kept.list().iter().map(|one| Beginning { tokens: &one.tokens, held: &one.held });
        let live = self.live.iter().map(|one| Beginning { tokens: &one.tokens, held: &one.held });
        let all = || live.clone().chain(kept.clone());
        let agreed = common(all().map(|one| one.tokens));
        all().next().map_or_else(Beginning::default, |any| any.first(agreed))
    }

    /// Kept hypotheses, best first. They are the result once the search is over.
    pub fn kept(&self) -> &[Hypothesis] {
        self.kept.list()
    }

    /// Takes the best candidates of each branch, and returns the parent of each branch that goes on: an index of a
    /// branch before the call. There is none when the search is over. `host` knows the branches by the
    /// same indices.
    pub fn advance(&mut self, found: &[Vec<Candidate>], host: &mut impl Host) -> Vec<usize> {
        let (width, length) = (self.asked.width as usize, self.len() + 1);
        let is_last = length >= self.bounds.max_tokens;
        let before = std::mem::take(&mut self.live);
        let best = best(&before, found, self.candidates());
        let mut parents = Vec::with_capacity(width);
        for (rank, one) in best.into_iter().enumerate() {
            let parent = &before[one.branch];
            let is_end = host.ends(one.branch, one.token);
            let goes_on = !is_end && !is_last;
            if if goes_on { parents.len() == width } else { rank >= width } {
                continue;
            }
            let mut tokens = Vec::with_capacity(length + 1);
            tokens.extend(parent.tokens.iter().copied().chain([one.token]));
            let held = parent.held.iter().cloned().chain(host.keep(one.branch, one.token)).collect();
            if goes_on {
                parents.push(one.branch);
                self.live.push(Line { tokens, log_prob: one.log_prob, held });
            } else {
                let reason = if is_end { FinishReason::Stop } else { FinishReason::Length };
                let score = one.log_prob / self.divisor(length);
                self.kept.add(Hypothesis { tokens, log_prob: one.log_prob, score, reason, held });
            }
        }
        if !self.may_improve(length) {
            self.live.clear();
            parents.clear();
        }
        parents
    }

    /// Whether a branch of this length may still lead to a hypothesis that is kept.
    fn may_improve(&self, length: usize) -> bool {
        let (Some(best), Some(worst)) = (self.live.first(), self.kept.to_beat()) else { return true };
        let at_best = match self.asked.early_stopping {
            EarlyStopping::Full => return false,
            EarlyStopping::Impossible if self.asked.length_penalty > 0.0 => self.bounds.max_tokens,
            EarlyStopping::Impossible | EarlyStopping::Unlikely => length,
        };
        best.log_prob / self.divisor(at_best) > worst
    }

    /// The number that the sum of a hypothesis of so many tokens is divided by.
    fn divisor(&self, tokens: usize) -> f32 {
        (tokens as f64).powf(self.asked.length_penalty) as f32
    }
}

/// The best `count` continuations of all branches, best first.
fn best(branches: &[Line], found: &[Vec<Candidate>], count: usize) -> Vec<Continuation> {
    assert_eq!(branches.len(), found.len(), "each branch has candidates");
    let mut all: Vec<Continuation> = Vec::with_capacity(found.iter().map(Vec::len).sum());
    for (branch, (line, found)) in branches.iter().zip(found).enumerate() {
        let continuation =
            |one: &Candidate| Continuation { branch, token: one.id, log_prob: line.log_prob + one.log_prob };
        all.extend(found.iter().map(continuation));
    }
    let order = |a: &Continuation, b: &Continuation| {
        b.log_prob.total_cmp(&a.log_prob).then((a.branch, a.token).cmp(&(b.branch, b.token)))
    };
    all.sort_unstable_by(order);
    all.truncate(count);
    all
}

/// Length of the longest beginning that all lists have.
pub fn common<'a>(mut lists: impl Iterator<Item = &'a [u32]>) -> usize {
    let Some(first) = lists.next() else { return 0 };
    let with = |list: &[u32]| first.iter().zip(list).take_while(|(a, b)| a == b).count();
    lists.map(with).fold(first.len(), usize::min)
}
