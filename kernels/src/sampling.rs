//! The definition of sampling: pure functions of logits, parameters, rules, seed, choice and position.
//!
//! Called by the backends and by tests. All backends must choose alike from the same logits, so weights are `exp` of
//! [`crate::math`] in fixed point: their sums are integers, equal in any order on any machine.

mod best;
mod candidates;
mod draw;
mod drawn_ids;
mod rule;
mod rules;
mod score;
mod weight;

pub use best::{BestAsk, best};
pub use candidates::{Candidates, IdLogit, best_first, choose};
pub use draw::{Draw, Draws, Sampling};
pub use drawn_ids::{DrawnIds, NO_PLACE};
pub use rule::{DrawRule, LogitEdit, TokenMask};
pub(crate) use rules::RuleSpan;
pub use rules::{DrawRules, RuleId};
pub use score::{Candidate, ScoreAsk, TokenScore};
pub use weight::{min_p_floor, nucleus, place, uniform, weight};
