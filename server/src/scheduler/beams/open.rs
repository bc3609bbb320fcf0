//! Open beginnings of an exact search, and their tokens.
//!
//! Used by `best_first`.

use std::cmp::Ordering;

/// A beginning from which targets may go on that were not seen yet.
#[derive(Debug)]
pub struct Open {
    /// No target that goes on from here scores better.
    pub bound: f32,
    /// Sum of the log-probabilities of its tokens.
    pub log_prob: f32,
    /// The path before its last token, or all of it.
    pub node: u32,
    /// Its last token, where that is not part of the path.
    pub token: Option<u32>,
    /// Most tokens that may follow.
    pub longest: u32,
    /// The part that is open where some of its continuations were taken; absent: all of it.
    pub rest: Option<Box<Rest>>,
}

/// Continuations of a beginning that were not taken yet.
#[derive(Debug)]
pub struct Rest {
    /// Number of candidates that the beginning gives when it runs.
    pub count: usize,
    /// Tokens that were taken before, ascending.
    pub taken: Vec<u32>,
    /// Whether the end of a target was among them.
    pub is_ended: bool,
}

impl Ord for Open {
    /// The greater one is the better; of equal bounds, the one that was opened first.
    fn cmp(&self, other: &Self) -> Ordering {
        self.bound.total_cmp(&other.bound).then_with(|| (other.node, other.token).cmp(&(self.node, self.token)))
    }
}

impl PartialOrd for Open {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Open {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Open {}

/// Tokens of beginnings that ran, which share what they have in common.
#[derive(Debug, Default)]
pub struct Path {
    links: Vec<Link>,
}

/// The last token of a beginning.
#[derive(Debug)]
struct Link {
    before: u32,
    token: u32,
}

impl Path {
    /// The beginning without tokens.
    pub const START: u32 = u32::MAX;

    /// The beginning that goes on from another by a token.
    pub fn go_on(&mut self, before: u32, token: u32) -> u32 {
        self.links.push(Link { before, token });
        u32::try_from(self.links.len() - 1).expect("a search has a bounded number of steps")
    }

    /// The tokens of a beginning.
    pub fn tokens(&self, mut node: u32) -> Vec<u32> {
        let mut tokens = Vec::new();
        while let Some(link) = self.links.get(node as usize) {
            tokens.push(link.token);
            node = link.before;
        }
        tokens.reverse();
        tokens
    }
}
