//! Choosing one id: the textbook form, which sorts everything.
//!
//! The definition that backends follow; also the last part of a screened draw, where few ids are left.

use super::draw::{Draw, Sampling};
use super::rule::DrawRule;
use super::weight::{min_p_floor, nucleus, place, weight};

/// An id with its logit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct IdLogit {
    /// The id.
    pub id: u32,
    /// Its logit.
    pub logit: f32,
}

/// The order in which ids are preferred: the larger logit, then the lower id. Zeros are equal whatever their sign.
pub fn best_first(a: &IdLogit, b: &IdLogit) -> std::cmp::Ordering {
    (b.logit + 0.0).total_cmp(&(a.logit + 0.0)).then(a.id.cmp(&b.id))
}

/// Chooses an id from a row of logits, in this order:
///
/// 1. The rule is applied ([`DrawRule::apply`]), and ids whose logit is minus infinity leave.
/// 2. Temperature 0 takes the largest logit, and nothing else happens. Otherwise logits are divided by the temperature.
/// 3. top_k, top_p (over what top_k left) and min_p (against the most probable) each narrow the set.
/// 4. The draw is by inverse CDF over the kept ids in id order.
///
/// Ties always go to the lowest id. `None` when a logit is not a number, since there is no order then, or when no id is
/// left.
pub fn choose(logits: &[f32], draw: &Draw, rule: DrawRule<'_>) -> Option<u32> {
    let mut candidates = Candidates::default();
    candidates.extend((0..).zip(logits.iter().copied()));
    candidates.choose(draw, rule)
}

/// Ids with their logits, with room that is kept between draws.
#[derive(Debug, Default)]
pub struct Candidates {
    pairs: Vec<IdLogit>,
    weights: Vec<(u32, u64)>,
}

impl Candidates {
    /// Forgets all ids.
    pub fn clear(&mut self) {
        self.pairs.clear();
    }

    /// Makes room for ids, so that later draws do not allocate.
    pub fn reserve(&mut self, ids: usize) {
        self.pairs.clear();
        self.pairs.reserve(ids);
        self.weights.clear();
        self.weights.reserve(Sampling::NARROW as usize);
    }

    /// Adds ids with their logits.
    pub fn extend(&mut self, pairs: impl IntoIterator<Item = (u32, f32)>) {
        self.pairs.extend(pairs.into_iter().map(|(id, logit)| IdLogit { id, logit }));
    }

    /// Does what [`choose`] does, on these ids. They must include all that the draw depends on; they are left changed.
    pub fn choose(&mut self, draw: &Draw, rule: DrawRule<'_>) -> Option<u32> {
        let Self { pairs, weights } = self;
        if pairs.iter().any(|pair| pair.logit.is_nan()) {
            return None;
        }
        if !rule.is_free() {
            pairs.iter_mut().for_each(|pair| pair.logit = rule.logit(pair.id, pair.logit));
        }
        pairs.retain(|pair| pair.logit > f32::NEG_INFINITY);
        let parameters = &draw.sampling;
        if parameters.temperature == 0.0 {
            return pairs.iter().min_by(|a, b| best_first(a, b)).map(|best| best.id);
        }
        pairs.iter_mut().for_each(|pair| pair.logit /= parameters.temperature);
        let kept = parameters.top_k as usize;
        if (1..pairs.len()).contains(&kept) {
            pairs.select_nth_unstable_by(kept - 1, best_first);
            pairs.truncate(kept);
        }
        pairs.sort_unstable_by(best_first);
        let max = pairs.first()?.logit;
        weights.clear();
        weights.extend(pairs.iter().map(|pair| (pair.id, weight(pair.logit, max))));
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
        let target = place(draw, weights.iter().map(|(_, w)| w).sum());
        let mut mass = 0;
        let found = weights.iter().find(|(_, w)| {
            mass += w;
            mass > target
        });
        found.map(|&(id, _)| id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sampling::{LogitEdit, TokenMask};

    const PLAIN: Sampling = Sampling { temperature: 1.0, top_k: 0, top_p: 1.0, min_p: 0.0, seed: 7 };

    fn at(sampling: Sampling, position: u32) -> Draw {
        Draw { sampling, position, ..Draw::greedy(0) }
    }

    fn free(logits: &[f32], draw: &Draw) -> Option<u32> {
        choose(logits, draw, DrawRule::default())
    }

    #[test]
    fn greedy_takes_the_lowest_of_equal_ids() {
        assert_eq!(free(&[1.0, 3.0, 3.0, -1.0], &Draw::greedy(0)), Some(1));
    }

    #[test]
    fn refused_ids_are_never_chosen() {
        let logits = [1.0, 9.0, 3.0, 8.0];
        let mask = Some(TokenMask { words: &[0b0111] });
        let edits = [LogitEdit::bias(0, 2.5)];
        let rules = [
            (DrawRule::ban(&[1]), 3),
            (DrawRule { mask, ..DrawRule::default() }, 1),
            (DrawRule { mask, ..DrawRule::ban(&[1]) }, 2),
            (DrawRule { mask, edits: &edits, banned: &[1] }, 0),
        ];
        for (rule, expected) in rules {
            assert_eq!(choose(&logits, &Draw::greedy(0), rule), Some(expected), "{rule:?}");
            for position in 0..100 {
                let drawn = choose(&logits, &at(Sampling { temperature: 50.0, ..PLAIN }, position), rule).unwrap();
                assert!(rule.allows(drawn), "{rule:?}: {drawn}");
            }
        }
    }

    #[test]
    fn draws_follow_the_probabilities() {
        let logits = [0.0_f32, 1.0, 2.0, -30.0];
        let mut counts = [0_u32; 4];
        for position in 0..40_000 {
            counts[free(&logits, &at(PLAIN, position)).unwrap() as usize] += 1;
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
            assert_eq!(free(&[1.0, f32::INFINITY], &at(sampling, 0)), None);
        }
    }

    #[test]
    fn nothing_is_drawn_where_no_id_is_left() {
        for sampling in [Sampling::GREEDY, PLAIN, Sampling { top_k: 2, ..PLAIN }] {
            assert_eq!(free(&[f32::NEG_INFINITY; 3], &at(sampling, 0)), None);
            assert_eq!(choose(&[1.0, 2.0], &at(sampling, 0), DrawRule::ban(&[0, 1])), None);
        }
    }

    #[test]
    fn logits_that_are_no_numbers_choose_nothing() {
        assert_eq!(free(&[1.0, f32::NAN], &Draw::greedy(0)), None);
        assert_eq!(choose(&[1.0, f32::NAN], &Draw::greedy(0), DrawRule::ban(&[1])), None);
    }

    #[test]
    fn each_filter_keeps_what_it_promises() {
        let logits = [2.0, 1.0, 2.0, 0.0, -3.0];
        let kept = |sampling: Sampling| {
            let mut seen: Vec<u32> = (0..2000).map(|p| free(&logits, &at(sampling, p)).unwrap()).collect();
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
            assert_eq!(free(&logits, &at(PLAIN, position)), free(&logits, &at(PLAIN, position)));
        }
        let draws = |choice| (0..50).map(|p| free(&logits, &Draw { choice, ..at(PLAIN, p) })).collect::<Vec<_>>();
        assert_ne!(draws(0), draws(1));
    }
}
