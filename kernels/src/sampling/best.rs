//! The best ids of a row of logits under a rule, with their scores: what beam search expands.
//!
//! The textbook form, which sorts everything. Backends give the same ids only up to the rounding of edited
//! log-probabilities: where two of these lie so close together that a backend's log-sum orders them otherwise, the two
//! ids change places, and at the end of the list one stands for the other. Without edits the order is that of the
//! logits, which is the same everywhere.

use super::candidates::{IdLogit, best_first};
use super::rule::DrawRule;
use super::rules::RuleId;
use super::score::Candidate;

/// The best ids wanted of one row of logits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BestAsk {
    /// Row of the logits.
    pub row: u32,
    /// How many ids are wanted.
    pub count: u32,
    /// Rule over what may be chosen; absent: every id, by its own logit.
    pub rule: Option<RuleId>,
}

/// The `count` best ids of a row, best first, ties by the lower id.
///
/// The rule is applied to the log-softmax of the row ([`DrawRule::apply_to_log_probs`]), and no other softmax follows:
/// a [`Candidate::log_prob`] is a log-probability over the whole vocabulary, edited. Ids whose log-probability is minus
/// infinity are left out, so there may be fewer than `count`. The list is empty where the logits make no distribution:
/// where one of them is not a number, or the largest is infinite.
pub fn best(logits: &[f32], count: usize, rule: DrawRule<'_>) -> Vec<Candidate> {
    let largest = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let log_sum = largest + logits.iter().map(|&z| (f64::from(z) - largest).exp()).sum::<f64>().ln();
    if !log_sum.is_finite() {
        return Vec::new();
    }
    let mut edited = logits.to_vec();
    rule.apply_to_log_probs(&mut edited, log_sum);
    let pairs = (0..).zip(edited).map(|(id, logit)| IdLogit { id, logit });
    let mut order: Vec<IdLogit> = pairs.filter(|pair| pair.logit > f32::NEG_INFINITY).collect();
    order.sort_by(best_first);
    let candidate = |(rank, pair): (u32, &IdLogit)| Candidate {
        id: pair.id,
        log_prob: (f64::from(pair.logit) - log_sum) as f32,
        rank,
    };
    (0..).zip(order.iter().take(count)).map(candidate).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sampling::LogitEdit;

    fn ids(candidates: &[Candidate]) -> Vec<u32> {
        candidates.iter().map(|candidate| candidate.id).collect()
    }

    #[test]
    fn the_best_come_first_and_equal_logits_by_the_lower_id() {
        let found = best(&[1.0, 2.0, 1.0, 2.0, 0.0], 3, DrawRule::default());
        assert_eq!(ids(&found), [1, 3, 0]);
        let sum: f64 = [1.0_f64, 2.0, 1.0, 2.0, 0.0].iter().map(|z| z.exp()).sum();
        assert!((f64::from(found[0].log_prob) - (2.0 - sum.ln())).abs() < 1e-6);
        assert_eq!((found[0].log_prob, found[2].rank), (found[1].log_prob, 2));
    }

    /// The log-probabilities of ids that a rule refuses are not given to the others.
    #[test]
    fn scores_are_those_of_the_whole_distribution_edited() {
        let logits = [3.0, 2.0, 1.0];
        let all = best(&logits, 3, DrawRule::default());
        let edits = [LogitEdit { id: 1, penalty: 1.5, bias: 0.25 }];
        let ruled = best(&logits, 3, DrawRule { edits: &edits, ..DrawRule::ban(&[0]) });
        assert_eq!(ids(&ruled), [1, 2]);
        assert!((ruled[0].log_prob - (all[1].log_prob * 1.5 + 0.25)).abs() < 1e-6);
        assert_eq!(ruled[1].log_prob, all[2].log_prob);
    }

    #[test]
    fn rows_without_a_distribution_have_no_best_ids() {
        assert!(best(&[1.0, f32::NAN], 2, DrawRule::default()).is_empty());
        assert!(best(&[1.0, f32::INFINITY], 2, DrawRule::default()).is_empty());
        assert!(best(&[f32::NEG_INFINITY; 2], 2, DrawRule::default()).is_empty());
        assert_eq!(ids(&best(&[1.0, f32::NEG_INFINITY], 2, DrawRule::default())), [0]);
    }
}
