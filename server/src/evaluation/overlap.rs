//! Number of n-grams that two sequences have in common, each counted as often as both contain it.
//!
//! Used by ROUGE, BLEU and chrF, whose sequences are words or characters.

use std::collections::HashMap;
use std::hash::Hash;

/// Counts of n-grams of one order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Overlap {
    /// N-grams of the written sequence.
    pub written: u64,
    /// N-grams of the wanted sequence.
    pub wanted: u64,
    /// N-grams in common.
    pub common: u64,
}

impl Overlap {
    /// Counts all n-grams of `order`, at least 1.
    pub fn of<T: Eq + Hash>(written: &[T], wanted: &[T], order: usize) -> Self {
        let mut left: HashMap<&[T], u64> = HashMap::new();
        for gram in wanted.windows(order) {
            *left.entry(gram).or_default() += 1;
        }
        let mut take = |gram: &[T]| match left.get_mut(gram) {
            Some(count @ 1..) => {
                *count -= 1;
                true
            }
            _ => false,
        };
        let common = written.windows(order).filter(|gram| take(gram)).count() as u64;
        let count = |sequence: &[T]| (sequence.len() + 1).saturating_sub(order) as u64;
        Self { written: count(written), wanted: count(wanted), common }
    }

    /// Adds the counts of another pair.
    pub fn add(&mut self, other: Self) {
        self.written += other.written;
        self.wanted += other.wanted;
        self.common += other.common;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_n_gram_counts_in_common_as_often_as_it_stands_in_both() {
        let (written, wanted) = (["a", "a", "a", "b"], ["a", "a", "b", "b", "b"]);
        assert_eq!(Overlap::of(&written, &wanted, 1), Overlap { written: 4, wanted: 5, common: 3 });
        assert_eq!(Overlap::of(&written, &wanted, 2), Overlap { written: 3, wanted: 4, common: 2 });
        assert_eq!(Overlap::of(&written, &wanted, 5), Overlap { written: 0, wanted: 1, common: 0 });
        assert_eq!(Overlap::of(&[], &wanted, 7), Overlap::default());
    }
}
