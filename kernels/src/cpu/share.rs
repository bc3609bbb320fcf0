//! Static shares of uneven work: each thread takes consecutive items of about the same cost.
//!
//! Called by the attention ops, whose items are as long as their sequences.

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
}
