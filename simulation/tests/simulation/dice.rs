//! Numbers that look random and follow from a seed.

/// A sequence of numbers.
#[derive(Debug, Clone, Copy)]
pub struct Dice(u64);

/// A number that depends on both and looks like neither (splitmix64).
pub fn mix(number: u64, other: u64) -> u64 {
    let mut mixed = (number ^ other.rotate_left(17)).wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

impl Dice {
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Dice of their own for one of many.
    pub fn apart(self, index: u64) -> Self {
        Self(mix(self.0, index + 1))
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(1);
        mix(self.0, 0)
    }

    /// A number below `end`, which is not 0.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// A number from `least` to `most`.
    pub fn between(&mut self, least: usize, most: usize) -> usize {
        least + self.below((most - least + 1) as u64) as usize
    }

    /// True once in so many times.
    pub fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// Time until the next of events that come independently, so far apart on average.
    pub fn wait(&mut self, mean: f64) -> u64 {
        let uniform = (self.below(1 << 32) as f64 + 1.0) / (1_u64 << 32) as f64;
        (-uniform.ln() * mean) as u64
    }
}
