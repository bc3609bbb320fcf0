//! Static shares of uneven work: each thread takes consecutive items of about the same cost.
//!
//! Called by the attention ops, whose items are as long as their sequences.

use std::ops::Range;

/// Walks items in order and picks those of one thread.
pub(super) struct Share {
    from: usize,
    to: usize,
    passed: usize,
}

impl Share {
    /// The share of `thread` out of `threads`, of items that cost `total` together.
    pub fn new(thread: usize, threads: usize, total: usize) -> Self {
        Self { from: total * thread / threads, to: total * (thread + 1) / threads, passed: 0 }
    }

    /// Whether the next item, of this cost, belongs to the thread. Ask for every item once, in order.
    pub fn takes(&mut self, cost: usize) -> bool {
        let start = self.passed;
        self.passed += cost;
        (self.from..self.to).contains(&start)
    }

    /// Which of the next `count` items, of this cost each, belong to the thread: they are consecutive.
    pub fn takes_of(&mut self, count: usize, cost: usize) -> Range<usize> {
        let first = (0..count).find(|_| self.takes(cost));
        let Some(first) = first else { return 0..0 };
        let others = (first + 1..count).filter(|_| self.takes(cost)).count();
        first..first + 1 + others
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_belongs_to_exactly_one_thread() {
        let costs = [5, 1, 1, 90, 3, 3, 7, 20];
        let total = costs.iter().sum();
        let mut owners = [0; 8];
        for thread in 0..3 {
            let mut share = Share::new(thread, 3, total);
            for (item, &cost) in costs.iter().enumerate() {
                owners[item] += usize::from(share.takes(cost));
            }
        }
        assert_eq!(owners, [1; 8]);
    }

    #[test]
    fn items_taken_in_groups_are_those_taken_one_by_one() {
        for thread in 0..3 {
            let (mut single, mut grouped) = (Share::new(thread, 3, 7 * 5 * 4), Share::new(thread, 3, 7 * 5 * 4));
            for _ in 0..7 {
                let alone: Vec<usize> = (0..5).filter(|_| single.takes(4)).collect();
                assert_eq!(grouped.takes_of(5, 4).collect::<Vec<_>>(), alone);
            }
        }
    }
}
