//! The definition of sampling: a pure function of logits, parameters, seed, choice and position.
//!
//! Called by the backends and by tests. All backends must choose alike from the same logits, so weights are
//! `exp` of [`crate::math`] in fixed point: their sums are integers, equal in any order on any machine.

use crate::backend::NO_PLACE;
use crate::math;

/// How a sequence's tokens are chosen. Out-of-range values are refused where requests are parsed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    /// 0 is greedy; else logits are divided by it.
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

impl TokenScore {
    /// Whether the logits made a distribution: else no log-probability here means anything.
    pub const fn is_of_distribution(&self) -> bool {
        !self.chosen.log_prob.is_nan()
    }
}

impl Sampling {
    /// The most probable id, always.
    pub const GREEDY: Self = Self { temperature: 0.0, top_k: 0, top_p: 1.0, min_p: 0.0, seed: 0 };
}

/// One draw: the parameters and the place in the random stream.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Choice {
    /// Parameters of the sequence.
    pub sampling: Sampling,
    /// Index of the sequence among its request's `n`.
    pub choice: u32,
    /// Position of the token that is drawn, counted from the decoder's start token at 0.
    pub position: u32,
    /// End tokens may not be chosen (there are fewer than `min_tokens`).
    pub forbid_end: bool,
}

impl Choice {
    /// Most logits that a narrow choice depends on.
    pub const NARROW: u32 = 256;

    /// Whether the choice depends on a few of the largest logits only: it is greedy, or keeps no more than
    /// [`Self::NARROW`] by `top_k`.
    pub fn is_narrow(&self) -> bool {
        self.sampling.temperature == 0.0 || (1..=Self::NARROW).contains(&self.sampling.top_k)
    }

    /// Largest logits that a narrow choice depends on.
    pub const fn kept(&self) -> usize {
        if self.sampling.temperature == 0.0 { 1 } else { self.sampling.top_k as usize }
    }
}

/// An id with its natural-log probability.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Candidate {
    /// Token id.
    pub id: u32,
    /// Log-softmax of the soft-capped logits at `id`; not a number where they make no distribution.
    pub log_prob: f32,
    /// How many ids are more probable (ties count if their id is lower).
    pub rank: u32,
}

/// Log-probabilities wanted of one row of logits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScoreAsk {
    /// Row of the logits.
    pub row: u32,
    /// Token whose log-probability is wanted.
    pub id: u32,
    /// How many of the most probable ids are wanted beside it.
    pub top: u32,
}

/// Log-probabilities at one target position.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TokenScore {
    /// The token that was asked about.
    pub chosen: Candidate,
    /// The most probable ones, best first; ties by the lower id.
    pub top: Vec<Candidate>,
}

/// Fraction bits of a weight. The largest weight is 1.0; a vocabulary of 2^20 sums below 2^63.
const WEIGHT_BITS: u32 = 40;

/// `exp(scaled - max)` as an integer of `WEIGHT_BITS` fraction bits.
#[inline(always)]
pub fn weight(scaled: f32, max: f32) -> u64 {
    (math::exp(scaled - max) * (1_u64 << WEIGHT_BITS) as f32) as u64
}

/// The number of 64 bits that a draw takes from the random stream.
pub fn uniform(choice: &Choice) -> u64 {
    let words = math::philox(choice.sampling.seed, [choice.choice, choice.position, 0, 0]);
    u64::from(words[0]) << 32 | u64::from(words[1])
}

/// The place in `0 .. total` that a draw points at.
pub fn draw(choice: &Choice, total: u64) -> u64 {
    ((u128::from(uniform(choice)) * u128::from(total)) >> 64) as u64
}

/// Order of `(id, logit)` pairs: the larger logit, then the lower id. Zeros are equal whatever their sign.
pub fn best_first(a: (u32, f32), b: (u32, f32)) -> std::cmp::Ordering {
    (b.1 + 0.0).total_cmp(&(a.1 + 0.0)).then(a.0.cmp(&b.0))
}

/// Mass that top-p must reach, of a total. At least one unit, so that one id is always kept.
pub fn nucleus(total: u64, top_p: f32) -> u64 {
    ((f64::from(top_p) * total as f64) as u64).clamp(1, total)
}

/// Chooses an id from a row of logits: the textbook form, which sorts everything.
///
/// In this order: forbidden end ids leave; temperature 0 takes the largest logit; else logits are divided by
/// the temperature, and top_k, top_p (over what top_k left) and min_p (against the most probable) each narrow
/// the set, ties always to the lowest id. The draw is by inverse CDF over the kept ids in id order. `None` when a
/// logit is not a number: there is no order then.
pub fn choose(logits: &[f32], choice: &Choice, end_ids: &[u32]) -> Option<u32> {
    let mut candidates = Candidates::default();
    candidates.extend((0..).zip(logits.iter().copied()));
    candidates.choose(choice, end_ids)
}

/// Ids with their logits, with room that is kept between choices.
#[derive(Debug, Default)]
pub struct Candidates {
    pairs: Vec<(u32, f32)>,
    weights: Vec<(u32, u64)>,
}

impl Candidates {
    /// Forgets all ids.
    pub fn clear(&mut self) {
        self.pairs.clear();
    }

    /// Makes room for ids without a later allocation.
    pub fn reserve(&mut self, ids: usize) {
        self.pairs.clear();
        self.pairs.reserve(ids);
        self.weights.clear();
        self.weights.reserve(Choice::NARROW as usize);
    }

    /// Adds ids with their logits.
    pub fn extend(&mut self, pairs: impl IntoIterator<Item = (u32, f32)>) {
        self.pairs.extend(pairs);
    }

    /// As [`choose`], from these ids, which must include all that the choice depends on. Leaves them changed.
    pub fn choose(&mut self, choice: &Choice, end_ids: &[u32]) -> Option<u32> {
        let Self { pairs, weights } = self;
        if pairs.iter().any(|(_, logit)| logit.is_nan()) {
            return None;
        }
        let parameters = &choice.sampling;
        if choice.forbid_end {
            pairs.retain(|(id, _)| !end_ids.contains(id));
        }
        if parameters.temperature == 0.0 {
            return pairs.iter().copied().min_by(|&a, &b| best_first(a, b)).map(|(id, _)| id);
        }
        pairs.iter_mut().for_each(|(_, logit)| *logit /= parameters.temperature);
        let kept = parameters.top_k as usize;
        if (1..pairs.len()).contains(&kept) {
            pairs.select_nth_unstable_by(kept - 1, |&a, &b| best_first(a, b));
            pairs.truncate(kept);
        }
        pairs.sort_unstable_by(|&a, &b| best_first(a, b));
        let max = pairs.first()?.1;
        weights.clear();
        weights.extend(pairs.iter().map(|&(id, scaled)| (id, weight(scaled, max))));
        let total = weights.iter().map(|(_, w)| w).sum();
        if total == 0 {
            // The best logit is infinite: no id weighs anything beside it.
            return None;
        }
        let wanted = nucleus(total, parameters.top_p);
        let mut mass = 0;
        let reached = weights.iter().position(|(_, w)| {
            mass += w;
            mass >= wanted
        });
        weights.truncate(reached.map_or(weights.len(), |last| last + 1));
        let floor = min_p_floor(parameters.min_p);
        weights.retain(|&(_, w)| w >= floor && w > 0);
        weights.sort_unstable();
        let target = draw(choice, weights.iter().map(|(_, w)| w).sum());
        let mut mass = 0;
        let found = weights.iter().find(|(_, w)| {
            mass += w;
            mass > target
        });
        found.map(|&(id, _)| id)
    }
}

/// Least weight that `min_p` keeps.
pub fn min_p_floor(min_p: f32) -> u64 {
    (f64::from(min_p) * (1_u64 << WEIGHT_BITS) as f64) as u64
}

/// Drawn ids in the host's memory, for backends that compute there. They stay to be read after they were taken, until others
/// are drawn.
#[derive(Debug, Clone, Default)]
pub struct DrawnIds {
    ids: Vec<Option<u32>>,
    are_taken: bool,
}

impl DrawnIds {
    /// An empty list.
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Self { ids: Vec::with_capacity(capacity), are_taken: false }
    }

    /// Where further ids are appended.
    pub(crate) fn list(&mut self) -> &mut Vec<Option<u32>> {
        if std::mem::take(&mut self.are_taken) {
            self.ids.clear();
        }
        &mut self.ids
    }

    /// The ids that stand at these places, with the index of each; rows without a place, or without an id, are left out.
    pub(crate) fn at<'a>(&'a self, places: &'a [u32]) -> impl Iterator<Item = (usize, u32)> + 'a {
        let drawn = places.iter().enumerate().filter(|(_, place)| **place != NO_PLACE);
        drawn.filter_map(|(row, place)| Some((row, self.ids[*place as usize]?)))
    }

    /// Appends them to `out`.
    pub(crate) fn take(&mut self, out: &mut Vec<Option<u32>>) {
        out.extend_from_slice(self.list());
        self.are_taken = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(sampling: Sampling, position: u32) -> Choice {
        Choice { sampling, choice: 0, position, forbid_end: false }
    }

    const PLAIN: Sampling = Sampling { temperature: 1.0, top_k: 0, top_p: 1.0, min_p: 0.0, seed: 7 };

    #[test]
    fn greedy_takes_the_lowest_of_equal_ids() {
        assert_eq!(choose(&[1.0, 3.0, 3.0, -1.0], &at(Sampling::GREEDY, 0), &[]), Some(1));
    }

    #[test]
    fn forbidden_end_ids_are_never_chosen() {
        let choice = Choice { forbid_end: true, ..at(Sampling::GREEDY, 0) };
        assert_eq!(choose(&[1.0, 9.0, 3.0], &choice, &[1]), Some(2));
    }

    #[test]
    fn draws_follow_the_probabilities() {
        let logits = [0.0_f32, 1.0, 2.0, -30.0];
        let mut counts = [0_u32; 4];
        for position in 0..40_000 {
            counts[choose(&logits, &at(PLAIN, position), &[]).unwrap() as usize] += 1;
        }
        let total: f64 = logits.iter().map(|&l| f64::from(l).exp()).sum();
        for (id, &count) in counts.iter().enumerate() {
            let expected = f64::from(logits[id]).exp() / total;
            assert!((f64::from(count) / 40_000.0 - expected).abs() < 0.01, "id {id}: {count}");
        }
    }

    #[test]
    fn beside_an_infinite_logit_nothing_is_drawn() {
        for top_p in [0.5, 1.0] {
            let sampling = Sampling { top_k: 2, top_p, ..PLAIN };
            assert_eq!(choose(&[1.0, f32::INFINITY], &at(sampling, 0), &[]), None);
            assert_eq!(choose(&[f32::NEG_INFINITY; 3], &at(sampling, 0), &[]), None);
        }
    }

    #[test]
    fn logits_that_are_no_numbers_choose_nothing() {
        assert_eq!(choose(&[1.0, f32::NAN], &at(Sampling::GREEDY, 0), &[]), None);
    }

    #[test]
    fn each_filter_keeps_what_it_promises() {
        let logits = [2.0, 1.0, 2.0, 0.0, -3.0];
        let kept = |sampling: Sampling| {
            let mut seen: Vec<u32> = (0..2000).map(|p| choose(&logits, &at(sampling, p), &[]).unwrap()).collect();
            seen.sort_unstable();
            seen.dedup();
            seen
        };
        assert_eq!(kept(Sampling { top_k: 1, ..PLAIN }), [0]);
        assert_eq!(kept(Sampling { top_k: 3, ..PLAIN }), [0, 1, 2]);
        assert_eq!(kept(Sampling { top_p: 0.3, ..PLAIN }), [0]);
        assert_eq!(kept(Sampling { top_p: 0.6, ..PLAIN }), [0, 2]);
        assert_eq!(kept(Sampling { min_p: 0.3, ..PLAIN }), [0, 1, 2]);
        assert_eq!(kept(Sampling { min_p: 1.0, ..PLAIN }), [0, 2]);
        assert_eq!(kept(Sampling { top_k: 2, top_p: 0.5, ..PLAIN }), [0]);
    }

    #[test]
    fn the_same_seed_choice_and_position_draw_the_same_id() {
        let logits: Vec<f32> = (0..300).map(|i| ((i * 37) % 91) as f32 / 30.0).collect();
        for position in 0..50 {
            assert_eq!(choose(&logits, &at(PLAIN, position), &[]), choose(&logits, &at(PLAIN, position), &[]));
        }
        let draws =
            |choice| (0..50).map(|p| choose(&logits, &Choice { choice, ..at(PLAIN, p) }, &[])).collect::<Vec<_>>();
        assert_ne!(draws(0), draws(1));
    }
}
