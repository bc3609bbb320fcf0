//! Log-probabilities of tokens with their ranks and the best alternatives, and the best ids of a row under a rule.
//!
//! Called by [`super::Cpu`] for rows whose log-probabilities are wanted, and for beams. Sums are those of sampling:
//! integers, equal everywhere.

use std::cell::RefCell;

use super::sample::{BLOCK, Kept, blocks, has_nan, mass, maximum};
use crate::isa::{Isa, for_each_isa};
use crate::sampling::{Candidate, DrawRule, ScoreAsk, TokenScore, weight};

thread_local! {
    /// A row of logits under a rule.
    static EDITED: RefCell<Vec<f32>> = RefCell::default();
}

/// Log-softmax of a row at the asked id and at the best ids.
pub(super) fn score(isa: Isa, logits: &[f32], ask: &ScoreAsk) -> TokenScore {
    let log_sum = log_sum(isa, logits);
    let (before, after) = logits.split_at(ask.id as usize);
    // Of equal logits the lower id counts as the more probable.
    let rank = count_not_below(isa, before, after[0]) + count_above(isa, after, after[0]);
    let chosen = Candidate { id: ask.id, log_prob: log_prob(after[0], log_sum), rank };
    TokenScore { chosen, top: largest(isa, logits, ask.top as usize, log_sum) }
}

/// The ids that [`crate::sampling::best`] defines.
pub(super) fn best(isa: Isa, logits: &[f32], count: usize, rule: DrawRule<'_>) -> Vec<Candidate> {
    let log_sum = log_sum(isa, logits);
    if log_sum.is_nan() {
        return Vec::new();
    }
    if rule.is_free() {
        return largest(isa, logits, count, log_sum);
    }
    EDITED.with_borrow_mut(|edited| {
        edited.clear();
        edited.extend_from_slice(logits);
        rule.apply_to_log_probs(edited, log_sum);
        largest(isa, edited, count, log_sum)
    })
}

/// Logarithm of the sum of exponentials; not a number where logits make no distribution.
fn log_sum(isa: Isa, logits: &[f32]) -> f64 {
    let max = maximum(isa, logits);
    if max.is_infinite() || has_nan(isa, logits) {
        return f64::NAN;
    }
    let total: u64 = blocks(logits).map(|(first, block)| mass(isa, block, first, &Kept::all(max))).sum();
    f64::from(max) + (total as f64 / weight(max, max) as f64).ln()
}

fn log_prob(logit: f32, log_sum: f64) -> f32 {
    (f64::from(logit) - log_sum) as f32
}

for_each_isa! {
    fn count_above(values: &[f32], than: f32) -> u32 {
        values.iter().map(|&value| u32::from(value > than)).sum()
    }
}

for_each_isa! {
    fn count_not_below(values: &[f32], than: f32) -> u32 {
        values.iter().map(|&value| u32::from(value >= than)).sum()
    }
}

/// The `count` largest logits above minus infinity, best first. A block whose largest is no better than the worst of
/// them is passed over.
fn largest(isa: Isa, logits: &[f32], count: usize, log_sum: f64) -> Vec<Candidate> {
    let mut best: Vec<(u32, f32)> = Vec::with_capacity(count.min(logits.len()) + 1);
    for (block, values) in logits.chunks(BLOCK).enumerate() {
        let worst = |best: &[(u32, f32)]| if best.len() < count { f32::NEG_INFINITY } else { best[count - 1].1 };
        if count == 0 || maximum(isa, values) <= worst(&best) {
            continue;
        }
        for (index, &value) in values.iter().enumerate() {
            if value > worst(&best) {
                let place = best.partition_point(|&(_, better)| better >= value);
                best.insert(place, ((block * BLOCK + index) as u32, value));
                best.truncate(count);
            }
        }
    }
    let candidate = |(rank, (id, logit))| Candidate { id, log_prob: log_prob(logit, log_sum), rank };
    (0..).zip(best).map(candidate).collect()
}
