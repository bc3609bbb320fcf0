//! An exact search among finite targets: branch and bound over the tree of their beginnings.
//!
//! A log-probability is at most 0, so no target scores better than its beginnings allow. The search descends as a beam
//! search does, keeps the beginnings that a beam search would drop, and comes back to them as long as one of them may
//! still lead to a target that is better than the worst kept. Beginnings that run side by side have equal lengths, to
//! which each may add tokens without a choice: these are scored in the step, like any others. An open beginning keeps
//! its tokens; the scheduler keeps pages of the latest that ran, and runs others again.

use std::collections::BinaryHeap;

use kernels::Candidate;

use super::beam::common;
use super::host::Host;
use super::hypothesis::{Hypothesis, Kept};
use super::open::{Open, Path, Rest};
use super::search::Next;
use crate::request::{BeamSearch, FinishReason};

/// Most beginnings that are open at once, for each branch that the search may run: one that has more of them ends. They
/// take half a MiB.
const OPEN_OF_BRANCH: usize = 1 << 14;
/// Times its bounds for which a search goes on while it has no target: controls may refuse the first that it sees.
const PATIENCE: usize = 4;

/// Bounds of an exact search.
#[derive(Debug, Clone, Copy)]
pub struct ExactBounds {
    /// Number of targets wanted.
    pub choices: usize,
    /// Most tokens of a target, at least one.
    pub max_tokens: usize,
    /// Number of steps after which a search that has a target ends, exact or not. One that has none ends after
    /// [`PATIENCE`] times as many, or as the longest target has tokens.
    pub steps: usize,
    /// Most tokens of a target that is not cut.
    pub longest: usize,
}

/// The beginnings that run, those that are open, and the targets that are kept.
#[derive(Debug)]
pub struct BestFirst {
    asked: BeamSearch,
    bounds: ExactBounds,
    /// Beginnings that run, best first; all of the same length before tokens without a choice.
    front: Vec<Front>,
    /// Open beginnings by their length.
    open: Vec<BinaryHeap<Open>>,
    path: Path,
    /// The beginnings that ran in the last step.
    ran: Vec<Ran>,
    kept: Kept,
    steps: usize,
    is_exact: bool,
}

/// A beginning that ran.
#[derive(Debug)]
pub struct Ran {
    /// Its tokens.
    pub tokens: Vec<u32>,
    /// Whether something that follows it is open.
    pub is_open: bool,
}

/// A beginning that runs.
#[derive(Debug)]
struct Front {
    tokens: Vec<u32>,
    /// The end of its path.
    node: u32,
    log_prob: f32,
    /// Most tokens that may follow.
    longest: usize,
    /// Its part that is not open any more.
    rest: Rest,
}

impl BestFirst {
    /// A search with one beginning that has no tokens.
    pub fn new(asked: BeamSearch, bounds: ExactBounds) -> Self {
        let rest = Rest { count: Self::first_count(asked), taken: Vec::new(), is_ended: false };
        let start = Front { tokens: Vec::new(), node: Path::START, log_prob: 0.0, longest: bounds.longest, rest };
        Self {
            asked,
            bounds,
            front: vec![start],
            open: Vec::new(),
            path: Path::default(),
            ran: Vec::new(),
            kept: Kept::new(bounds.choices),
            steps: 0,
            is_exact: false,
        }
    }

    /// Number of candidates that a branch must give.
    pub fn candidates(&self, branch: usize) -> usize {
        self.front[branch].rest.count
    }

    /// Number of beginnings that run.
    pub const fn branches(&self) -> usize {
        self.front.len()
    }

    /// Number of tokens of each.
    pub fn len(&self) -> usize {
        self.front.first().map_or(0, |front| front.tokens.len())
    }

    /// Tokens of one.
    pub fn tokens(&self, branch: usize) -> &[u32] {
        &self.front[branch].tokens
    }

    /// Number of first tokens that all of them have in common.
    pub fn stem(&self) -> usize {
        common(self.front.iter().map(|front| front.tokens.as_slice()))
    }

    /// The beginnings that ran in the last step.
    pub fn ran(&self) -> &[Ran] {
        &self.ran
    }

    /// Kept targets, best first.
    pub fn kept(&self) -> &[Hypothesis] {
        self.kept.list()
    }

    /// Whether no other target can be better than those that are kept. Known once the search is over.
    pub const fn is_exact(&self) -> bool {
        self.is_exact
    }

    /// Lets a branch go on by tokens without a choice, each the only candidate of its list, before the candidates that
    /// follow them are taken. Returns false where one is refused: nothing follows then.
    pub fn follow(&mut self, branch: usize, forced: &[Vec<Candidate>]) -> bool {
        let front = &mut self.front[branch];
        for found in forced {
            let Some(one) = found.first() else { return false };
            front.tokens.push(one.id);
            front.node = self.path.go_on(front.node, one.id);
            front.log_prob += one.log_prob;
            front.longest = front.longest.saturating_sub(1);
        }
        true
    }

    /// Takes the best candidates of each branch, and says what runs next.
    pub fn advance(&mut self, found: &[Vec<Candidate>], host: &mut impl Host) -> Next {
        assert_eq!(self.front.len(), found.len(), "each branch has candidates");
        self.steps += 1;
        let before = std::mem::take(&mut self.front);
        self.ran = before.iter().map(|front| Ran { tokens: front.tokens.clone(), is_open: false }).collect();
        let mut children = Vec::new();
        for (branch, (front, found)) in before.iter().zip(found).enumerate() {
            self.expand(Expanded { branch, front }, found, host, &mut children);
        }
        if self.is_at_bound(children.len()) {
            self.is_exact = !self.is_any_open(&children);
            return Next::Over;
        }
        self.descend(children).unwrap_or_else(|| self.come_back())
    }

    /// Sorts the candidates after a branch into targets that are kept, `children` that are open, and the rest.
    fn expand(&mut self, of: Expanded<'_>, found: &[Candidate], host: &mut impl Host, children: &mut Vec<Child>) {
        let Expanded { branch, front } = of;
        let length = front.tokens.len() + 1;
        let mut is_ended = front.rest.is_ended;
        for one in found.iter().filter(|one| front.rest.taken.binary_search(&one.id).is_err()) {
            let log_prob = front.log_prob + one.log_prob;
            let (is_end, longest) = (host.ends(branch, one.id), host.longest(branch, one.id));
            // Of several end tokens after a target, the most probable one counts.
            if longest == 0 && std::mem::replace(&mut is_ended, true) {
                continue;
            }
            if is_end || length >= self.bounds.max_tokens {
                let reason = if is_end { FinishReason::Stop } else { FinishReason::Length };
                let tokens = [front.tokens.as_slice(), &[one.id]].concat();
                let score = log_prob / self.divisor(length);
                self.kept.add(Hypothesis { tokens, log_prob, score, reason, held: Vec::new() });
                continue;
            }
            let (bound, longest) = (self.bound(log_prob, length, longest), narrow(longest));
            let open = Open { bound, log_prob, node: front.node, token: Some(one.id), longest, rest: None };
            children.push(Child { branch, length, open });
        }
        if let Some(last) = found.last().filter(|_| found.len() >= front.rest.count) {
            let log_prob = front.log_prob + last.log_prob;
            let bound = self.bound(log_prob, length - 1, front.longest);
            let mut taken: Vec<u32> = found.iter().map(|one| one.id).collect();
            taken.sort_unstable();
            let rest = Some(Box::new(Rest { count: 2 * front.rest.count, taken, is_ended }));
            let (node, log_prob, longest) = (front.node, front.log_prob, narrow(front.longest));
            self.add(branch, length - 1, Open { bound, log_prob, node, token: None, longest, rest });
        }
    }

    /// Goes on with the best children of one length, if they fill at least half of the branches or too few targets are
    /// kept.
    fn descend(&mut self, mut children: Vec<Child>) -> Option<Next> {
        children.retain(|child| self.may_improve(child.open.bound));
        children.sort_by(|a, b| b.open.cmp(&a.open));
        let width = self.asked.width as usize;
        let goes_on = |own: usize| 2 * own >= width || self.kept.to_beat().is_none();
        let length = fullest(&children, width).filter(|fullest| goes_on(fullest.children));
        let mut parents = Vec::new();
        for child in children {
            if length.is_some_and(|fullest| fullest.length == child.length) && parents.len() < width {
                parents.push(child.branch);
                let front = self.front_of(child.open);
                self.front.push(front);
            } else {
                self.add(child.branch, child.length, child.open);
            }
        }
        (!parents.is_empty()).then_some(Next::GoOn(parents))
    }

    /// Comes back to the length that has the best open beginning, with the best beginnings of this length.
    fn come_back(&mut self) -> Next {
        let best = |(length, heap): (usize, &BinaryHeap<Open>)| heap.peek().map(|open| (open.bound, length));
        let by_bound = |a: &(f32, usize), b: &(f32, usize)| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1));
        let best = self.open.iter().enumerate().filter_map(best).max_by(by_bound);
        let Some((_, length)) = best.filter(|&(bound, _)| self.may_improve(bound)) else {
            self.is_exact = true;
            return Next::Over;
        };
        while self.front.len() < self.asked.width as usize
            && let Some(open) = self.open[length].pop()
            && self.may_improve(open.bound)
        {
            let front = self.front_of(open);
            self.front.push(front);
        }
        Next::ComeBack
    }

    /// Opens a beginning of so many tokens after a branch, if it may lead to a target that is kept.
    fn add(&mut self, branch: usize, length: usize, open: Open) {
        if !self.may_improve(open.bound) {
            return;
        }
        self.ran[branch].is_open = true;
        if self.open.len() <= length {
            self.open.resize_with(length + 1, BinaryHeap::new);
        }
        self.open[length].push(open);
    }

    /// The beginning that an open one becomes when it runs.
    fn front_of(&mut self, open: Open) -> Front {
        let Open { log_prob, node, token, longest, rest, .. } = open;
        let node = token.map_or(node, |token| self.path.go_on(node, token));
        let first = || Rest { count: Self::first_count(self.asked), taken: Vec::new(), is_ended: false };
        let rest = rest.map_or_else(first, |rest| *rest);
        Front { tokens: self.path.tokens(node), node, log_prob, longest: longest as usize, rest }
    }

    /// Whether the search ends with this step, beside which so many beginnings are about to be opened.
    fn is_at_bound(&self, opened: usize) -> bool {
        let open = opened + self.open.iter().map(BinaryHeap::len).sum::<usize>();
        let ExactBounds { steps, longest, max_tokens, .. } = self.bounds;
        // The first target is reached in as many steps as it has tokens, unless its end is refused.
        let (steps, patience) =
            if self.kept.list().is_empty() { (steps.max(longest.min(max_tokens)), PATIENCE) } else { (steps, 1) };
        self.steps >= patience * steps || open > patience * OPEN_OF_BRANCH * self.asked.width as usize
    }

    fn is_any_open(&self, children: &[Child]) -> bool {
        let open = self.open.iter().filter_map(BinaryHeap::peek);
        children.iter().map(|child| &child.open).chain(open).any(|open| self.may_improve(open.bound))
    }

    /// Whether a target of this score would be kept.
    fn may_improve(&self, bound: f32) -> bool {
        self.kept.to_beat().is_none_or(|worst| bound > worst)
    }

    /// The best score of targets that go on from a beginning of `length` tokens by at most `longest`.
    fn bound(&self, log_prob: f32, length: usize, longest: usize) -> f32 {
        let most = length.saturating_add(longest).min(self.bounds.max_tokens);
        log_prob / self.divisor(if self.asked.length_penalty >= 0.0 { most } else { length + 1 })
    }

    /// The number that the sum of a target of so many tokens is divided by.
    fn divisor(&self, tokens: usize) -> f32 {
        (tokens as f64).powf(self.asked.length_penalty) as f32
    }

    /// Number of candidates that a beginning gives when it runs for the first time.
    fn first_count(asked: BeamSearch) -> usize {
        (2 * asked.width as usize).max(16)
    }
}

/// A number of tokens in the 32 bits that an open beginning has for it.
fn narrow(tokens: usize) -> u32 {
    u32::try_from(tokens).unwrap_or(u32::MAX)
}

/// A length of children.
#[derive(Clone, Copy)]
struct Fullest {
    length: usize,
    /// Number of children, as far as they run.
    children: usize,
}

/// The length of which most children run; of several the one that has the best child. Those are in order.
fn fullest(children: &[Child], width: usize) -> Option<Fullest> {
    let mut lengths: Vec<Fullest> = Vec::new();
    for child in children {
        match lengths.iter_mut().find(|one| one.length == child.length) {
            Some(one) => one.children = width.min(one.children + 1),
            None => lengths.push(Fullest { length: child.length, children: 1 }),
        }
    }
    lengths.into_iter().rev().max_by_key(|one| one.children)
}

/// A beginning that ran.
struct Expanded<'a> {
    branch: usize,
    front: &'a Front,
}

/// An open beginning that goes on from a branch by one token.
struct Child {
    branch: usize,
    /// Number of its tokens.
    length: usize,
    open: Open,
}
