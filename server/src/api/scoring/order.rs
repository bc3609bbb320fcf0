//! The order in which the targets of pairs are scored, so that those of one source that begin alike follow each other
//! and each scores only what the one before it did not.
//!
//! Sorted targets are a trie read from left to right: what a target has in common with any before it, it has in common
//! with the last one.

use super::call::Pair;
use super::tokenise::Tokens;

/// A pair in its place in the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OrderedPair {
    /// Its index among the pairs.
    pub index: usize,
    /// First tokens of its target that the pair before it scores too.
    pub known: usize,
}

/// The pairs in the order in which they are scored.
pub fn in_order(pairs: &[Pair], tokens: &Tokens) -> Vec<OrderedPair> {
    let target = |index: usize| &tokens.targets[pairs[index].target];
    let mut order: Vec<usize> = (0..pairs.len()).collect();
    order.sort_by(|&one, &other| {
        pairs[one].source.cmp(&pairs[other].source).then_with(|| target(one).cmp(target(other)))
    });
    let known = |place: usize| {
        let Some(before) = place.checked_sub(1).map(|place| order[place]) else { return 0 };
        let index = order[place];
        if pairs[before].source != pairs[index].source {
            return 0;
        }
        target(before).iter().zip(target(index).iter()).take_while(|(before, token)| before == token).count()
    };
    order.iter().enumerate().map(|(place, &index)| OrderedPair { index, known: known(place) }).collect()
}

/// Applies `of` to all scores of each target; the results are in the order of the pairs. `scores` has those of the
/// tokens that each pair of the order scored itself.
pub fn whole_targets<T: Clone + Default>(
    order: &[OrderedPair],
    scores: &[Vec<f32>],
    of: impl Fn(&[f32]) -> T,
) -> Vec<T> {
    let mut all = vec![T::default(); order.len()];
    let mut target = Vec::new();
    for (pair, own) in order.iter().zip(scores) {
        target.truncate(pair.known);
        target.extend_from_slice(own);
        all[pair.index] = of(&target);
    }
    all
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn tokens(targets: &[&[u32]]) -> Tokens {
        let sources = vec![Arc::from([1]), Arc::from([2])];
        Tokens { sources, targets: targets.iter().map(|target| Arc::from(*target)).collect() }
    }

    #[test]
    fn a_target_scores_only_what_differs_from_the_one_before_it() {
        let tokens = tokens(&[&[5, 6, 9], &[4], &[5, 6], &[5, 7], &[5, 6, 9], &[5, 6]]);
        let pair = |source, target| Pair { source, target };
        let pairs = [pair(0, 0), pair(0, 1), pair(0, 2), pair(0, 3), pair(0, 4), pair(1, 5)];
        let order = in_order(&pairs, &tokens);
        let expected = [(1, 0), (2, 0), (0, 2), (4, 3), (3, 1), (5, 0)];
        assert_eq!(order, expected.map(|(index, known)| OrderedPair { index, known }));
        // A score that tells its pair's source and the tokens up to its own.
        let sums = |pair: &Pair| -> Vec<f32> {
            let target = &tokens.targets[pair.target];
            let sum = |end: usize| target[..end].iter().sum::<u32>() + 100 * pair.source as u32;
            (1..=target.len()).map(|end| sum(end) as f32).collect()
        };
        let own: Vec<_> = order.iter().map(|one| sums(&pairs[one.index])[one.known..].to_vec()).collect();
        let whole = whole_targets(&order, &own, <[f32]>::to_vec);
        assert_eq!(whole, pairs.iter().map(sums).collect::<Vec<_>>());
        assert_eq!(own.iter().map(Vec::len).sum::<usize>(), 1 + 2 + 1 + 1 + 2, "of 13 tokens");
    }
}
