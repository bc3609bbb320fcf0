//! Hypotheses that ended: the best of them are kept.
//!
//! Filled by `beam` and `best_first`.

use crate::request::FinishReason;
use crate::scheduler::event::HeldScore;

/// A branch that ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Hypothesis {
    /// Its tokens after the decoder prompt, the end token among them.
    pub tokens: Vec<u32>,
    /// Sum of the edited log-probabilities of these tokens.
    pub log_prob: f32,
    /// `log_prob / tokens^length_penalty`.
    pub score: f32,
    /// Why it ended.
    pub reason: FinishReason,
    /// Places of its tokens' log-probabilities; empty where none are wanted.
    pub held: Vec<HeldScore>,
}

/// The best hypotheses so far, best first. Of equal scores the one that came first is the better.
#[derive(Debug)]
pub struct Kept {
    most: usize,
    list: Vec<Hypothesis>,
}

impl Kept {
    /// Keeps at most so many.
    pub const fn new(most: usize) -> Self {
        Self { most, list: Vec::new() }
    }

    /// Keeps a hypothesis if it is among the best.
    pub fn add(&mut self, hypothesis: Hypothesis) {
        let place = self.list.partition_point(|kept| kept.score >= hypothesis.score);
        self.list.insert(place, hypothesis);
        self.list.truncate(self.most);
    }

    /// The kept hypotheses, best first.
    pub fn list(&self) -> &[Hypothesis] {
        &self.list
    }

    /// Score that a new one has to exceed; `None` while there is room.
    pub fn to_beat(&self) -> Option<f32> {
        self.list.last().filter(|_| self.list.len() == self.most).map(|worst| worst.score)
    }
}
