//! One draw: the row, the parameters, the place in the random stream and the rule.
//!
//! Made by the code that plans a step; read by the backends.

use super::rule::DrawRule;
use super::rules::{DrawRules, RuleId};

/// How a sequence's tokens are chosen. Out-of-range values are refused where requests are parsed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    /// 0 is greedy; otherwise logits are divided by it.
    pub temperature: f32,
    /// Keep the `top_k` largest logits; 0 keeps all.
    pub top_k: u32,
    /// Keep the smallest set of most probable ids whose mass reaches `top_p`, in (0, 1].
    pub top_p: f32,
    /// Keep ids at least `min_p` times as probable as the most probable one, in [0, 1].
    pub min_p: f32,
    /// Seed of the random stream.
    pub seed: u64,
}

impl Sampling {
    /// The most probable id, always.
    pub const GREEDY: Self = Self { temperature: 0.0, top_k: 0, top_p: 1.0, min_p: 0.0, seed: 0 };
    /// The largest `top_k` of a narrow draw.
    pub const NARROW: u32 = 256;

    /// Whether a draw depends on a few of the largest logits only: it is greedy, or keeps at most [`Self::NARROW`] by
    /// `top_k`. A rule never makes a narrow draw wide.
    pub fn is_narrow(&self) -> bool {
        self.temperature == 0.0 || (1..=Self::NARROW).contains(&self.top_k)
    }

    /// Number of largest logits that a narrow draw depends on.
    pub const fn kept(&self) -> usize {
        if self.temperature == 0.0 { 1 } else { self.top_k as usize }
    }
}

/// One id to be drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Draw {
    /// Row of the logits.
    pub row: u32,
    /// Parameters of the sequence.
    pub sampling: Sampling,
    /// Index of the sequence among its request's `n`.
    pub choice: u32,
    /// Position of the token that is drawn, counted from the decoder's start token at 0.
    pub position: u32,
    /// Rule over what may be drawn; absent: every id, by its own logit.
    pub rule: Option<RuleId>,
}

impl Draw {
    /// The most probable id of a row.
    pub const fn greedy(row: u32) -> Self {
        Self { row, sampling: Sampling::GREEDY, choice: 0, position: 0, rule: None }
    }
}

/// Draws of one call, with the rules that they name.
#[derive(Debug, Clone, Copy)]
pub struct Draws<'a> {
    /// One id is drawn for each.
    pub list: &'a [Draw],
    /// Rules by the ids in the list.
    pub rules: &'a DrawRules,
}

impl<'a> Draws<'a> {
    /// Draws that name no rule.
    pub fn free(list: &'a [Draw]) -> Self {
        static NO_RULES: DrawRules = DrawRules::new();
        Self { list, rules: &NO_RULES }
    }

    /// The rule of one of these draws.
    pub fn rule(&self, draw: &Draw) -> DrawRule<'a> {
        self.rules.of(draw.rule)
    }
}
