//! Amounts of work by their size, for sums over parts of each of them.

/// Amounts whose greatest power of two is the same are summed up together.
const SIZES: usize = u64::BITS as usize;

/// How many amounts there are, and their sum, by size.
#[derive(Debug, Clone)]
pub struct AmountSizes {
    counts: [u32; SIZES],
    sums: [u64; SIZES],
}

impl Default for AmountSizes {
    fn default() -> Self {
        Self { counts: [0; SIZES], sums: [0; SIZES] }
    }
}

impl AmountSizes {
    /// Adds an amount; 0 is none.
    pub const fn add(&mut self, amount: u64) {
        if let Some(size) = amount.checked_ilog2() {
            self.counts[size as usize] += 1;
            self.sums[size as usize] = self.sums[size as usize].saturating_add(amount);
        }
    }

    /// Removes an amount that was added.
    pub const fn remove(&mut self, amount: u64) {
        if let Some(size) = amount.checked_ilog2() {
            self.counts[size as usize] -= 1;
            self.sums[size as usize] = self.sums[size as usize].saturating_sub(amount);
        }
    }

    /// The sum of all amounts, of each at most `most`. Amounts of the size of `most` may count for up to twice as much.
    pub fn sum_up_to(&self, most: u64) -> u64 {
        let sums = self.counts.iter().zip(&self.sums);
        sums.map(|(&count, &sum)| sum.min(u64::from(count).saturating_mul(most))).fold(0, u64::saturating_add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_over_parts_are_exact_but_for_amounts_of_about_the_same_size() {
        let (mut sizes, amounts) = (AmountSizes::default(), [1, 1, 5, 40, 1000, 1_000_000]);
        amounts.iter().for_each(|&amount| sizes.add(amount));
        for most in [1, 16, 64, 1024, 1 << 40] {
            assert_eq!(sizes.sum_up_to(most), amounts.iter().map(|&amount| amount.min(most)).sum::<u64>(), "{most}");
        }
        amounts.iter().for_each(|&amount| sizes.remove(amount));
        sizes.add(0);
        assert_eq!((sizes.sum_up_to(u64::MAX), sizes.counts.iter().sum::<u32>()), (0, 0));
    }
}
