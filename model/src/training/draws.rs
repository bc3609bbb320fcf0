//! Random draws keyed by their purpose, so that there is no generator state to save or lose.
//!
//! Used by `data` for the order of rows and by `objective` for denoising. Keyed by seed, purpose, epoch and index, so
//! that a row's draws depend on no other row.

use kernels::math::philox;

/// Purpose of draws; each has draws of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The order of rows or texts in an epoch.
    RowOrder = 1,
    /// The order of batches in an epoch.
    BatchOrder = 2,
    /// The denoising of one row.
    Denoising = 3,
}

/// A sequence of draws.
#[derive(Debug, Clone)]
pub(super) struct Draws {
    key: u64,
    index: u64,
    block: u64,
    words: [u32; 4],
    used: usize,
}

impl Draws {
    /// The draws for item `index` of an epoch.
    pub fn new(seed: u64, purpose: Purpose, epoch: u64, index: u64) -> Self {
        let [low, high] = halves(epoch);
        let key = philox(seed, [purpose as u32, low, high, 0]);
        Self { key: u64::from(key[0]) | u64::from(key[1]) << 32, index, block: 0, words: [0; 4], used: 4 }
    }

    /// Draws a number below `count`, each equally likely (Lemire, "Fast Random Integer Generation in an Interval",
    /// 2019). `count` is not 0.
    pub fn below(&mut self, count: usize) -> usize {
        let count = count as u64;
        let refused = count.wrapping_neg() % count;
        loop {
            let product = u128::from(self.next()) * u128::from(count);
            if product as u64 >= refused {
                return (product >> 64) as usize;
            }
        }
    }

    /// Puts items into a random order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = self.below(last + 1);
            items.swap(last, other);
        }
    }

    /// Draws `chosen` of `count` items, each subset equally likely (Floyd's algorithm:
    /// Bentley, "Programming Pearls", 1987).
    pub fn choose(&mut self, chosen: usize, count: usize) -> Vec<bool> {
        let mut marks = vec![false; count];
        for last in count - chosen..count {
            let other = self.below(last + 1);
            let free = if marks[other] { last } else { other };
            marks[free] = true;
        }
        marks
    }

    fn next(&mut self) -> u64 {
        if self.used == self.words.len() {
            let ([block_low, block_high], [low, high]) = (halves(self.block), halves(self.index));
            self.words = philox(self.key, [block_low, block_high, low, high]);
            self.block += 1;
            self.used = 0;
        }
        let pair = [self.words[self.used], self.words[self.used + 1]];
        self.used += 2;
        u64::from(pair[0]) | u64::from(pair[1]) << 32
    }
}

fn halves(number: u64) -> [u32; 2] {
    [number as u32, (number >> 32) as u32]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_follow_from_their_purpose_epoch_and_index_alone() {
        let all = |mut draws: Draws| (0..8).map(|_| draws.below(1 << 40)).collect::<Vec<_>>();
        let first = all(Draws::new(1, Purpose::RowOrder, 0, 0));
        assert_eq!(first, all(Draws::new(1, Purpose::RowOrder, 0, 0)));
        let others = [
            Draws::new(2, Purpose::RowOrder, 0, 0),
            Draws::new(1, Purpose::BatchOrder, 0, 0),
            Draws::new(1, Purpose::RowOrder, 1 << 32, 0),
            Draws::new(1, Purpose::RowOrder, 0, 1 << 32),
        ];
        for other in others {
            assert_ne!(first, all(other));
        }
    }

    #[test]
    fn every_number_is_drawn_about_equally_often() {
        let mut draws = Draws::new(7, Purpose::Denoising, 3, 5);
        let mut counts = [0; 7];
        (0..70_000).for_each(|_| counts[draws.below(7)] += 1);
        assert!(counts.iter().all(|count| (9_600..10_400).contains(count)), "{counts:?}");
    }

    #[test]
    fn as_many_items_are_chosen_as_were_asked_for_and_each_equally_often() {
        let mut draws = Draws::new(7, Purpose::Denoising, 0, 0);
        let mut counts = [0; 5];
        for _ in 0..10_000 {
            let marks = draws.choose(2, 5);
            assert_eq!(marks.iter().filter(|mark| **mark).count(), 2);
            marks.iter().zip(&mut counts).for_each(|(mark, count)| *count += usize::from(*mark));
        }
        assert!(counts.iter().all(|count| (3_800..4_200).contains(count)), "{counts:?}");
        assert_eq!(draws.choose(3, 3), [true; 3]);
        assert!(draws.choose(0, 0).is_empty());
    }

    #[test]
    fn a_shuffle_keeps_every_item() {
        let mut items: Vec<usize> = (0..1000).collect();
        Draws::new(1, Purpose::RowOrder, 0, 0).shuffle(&mut items);
        assert_ne!(items[..10], (0..10).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..1000).collect::<Vec<_>>());
    }
}
