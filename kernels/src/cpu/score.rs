//! Log-probabilities of tokens, with their ranks and the best alternatives.
//!
//! Called by [`super::Cpu`] for the rows whose clients asked. Sums are those of sampling: integers, equal everywhere.

use super::sample::{BLOCK, Kept, blocks, has_nan, mass, maximum};
use crate::isa::{Isa, for_each_isa};
use crate::sampling::{Candidate, ScoreAsk, TokenScore, weight};

/// Log-softmax of a row at the asked id and at the best ids.
pub(super) fn score(isa: Isa, logits: &[f32], ask: &ScoreAsk) -> TokenScore {
    let max = maximum(isa, logits);
    let total: u64 = blocks(logits).map(|(first, block)| mass(isa, block, first, &Kept::all(max))).sum();
    let log_sum = if max.is_infinite() || has_nan(isa, logits) {
        f64::NAN
    } else {
        f64::from(max) + (total as f64 / weight(max, max) as f64).ln()
    };
    let log_prob = |value: f32| (f64::from(value) - log_sum) as f32;
    let (before, after) = logits.split_at(ask.id as usize);
    // Of equal logits the lower id counts as the more probable.
    let rank = count_not_below(isa, before, after[0]) + count_above(isa, after, after[0]);
    let chosen = Candidate { id: ask.id, log_prob: log_prob(after[0]), rank };
    let best = best(isa, logits, ask.top as usize);
    let top = (0..).zip(best).map(|(rank, (id, value))| Candidate { id, log_prob: log_prob(value), rank }).collect();
    TokenScore { chosen, top }
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

/// The `count` largest logits, best first. A block whose largest is no better than the worst of them is passed over.
fn best(isa: Isa, logits: &[f32], count: usize) -> Vec<(u32, f32)> {
    let mut best: Vec<(u32, f32)> = Vec::with_capacity(count + 1);
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
    best
}
