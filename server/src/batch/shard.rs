//! A part of a file of requests, for jobs that divide it among them.

use std::fmt;
use std::str::FromStr;

/// Every `count`-th line of a file, from the one of `index` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    index: u64,
    count: u64,
}

impl Shard {
    /// The whole file.
    pub const ALL: Self = Self { index: 0, count: 1 };

    /// Whether a line, counted from 1, is in it.
    pub const fn holds(self, line: u64) -> bool {
        line.wrapping_sub(1) % self.count == self.index
    }

    /// How many of the first `lines` lines are in it.
    pub const fn share_of(self, lines: u64) -> u64 {
        (lines + self.count - 1 - self.index) / self.count
    }
}

impl FromStr for Shard {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let form = "must be INDEX/COUNT, as 0/8 to 7/8 for eight shards";
        let (index, count) = text.split_once('/').ok_or(form)?;
        let (index, count) = (index.parse::<u64>().map_err(|_| form)?, count.parse::<u64>().map_err(|_| form)?);
        // More would overflow when lines are divided among them.
        if index < count && count <= 1 << 32 { Ok(Self { index, count }) } else { Err(form) }
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.index, self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_cover_every_line_once() {
        for count in 1..=7_u64 {
            let shards: Vec<Shard> = (0..count).map(|index| format!("{index}/{count}").parse().unwrap()).collect();
            for line in 1..=40 {
                assert_eq!(shards.iter().filter(|shard| shard.holds(line)).count(), 1, "{line} of {count}");
            }
            for lines in 0..=40 {
                let held = |shard: &Shard| (1..=lines).filter(|line| shard.holds(*line)).count() as u64;
                assert!(shards.iter().all(|shard| shard.share_of(lines) == held(shard)), "{lines} in {count}");
            }
        }
    }

    #[test]
    fn a_shard_that_does_not_exist_is_refused() {
        for text in ["", "1", "8/8", "1/0", "-1/2", "a/b", "0/9999999999"] {
            assert!(text.parse::<Shard>().is_err(), "{text}");
        }
        assert_eq!("3/8".parse::<Shard>().unwrap().to_string(), "3/8");
    }
}
