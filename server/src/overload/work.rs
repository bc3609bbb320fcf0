//! The cost of requests, in units that can be added.

/// Units of a target token. The unit is the time that a source token takes in the encoder, beside others: on two cores
/// 0.12 ms for the s-s shape in int8, against 0.64 ms for a row of a step of 32 (docs/benchmarks.md). The measured pace
/// makes up for another ratio as long as calls are alike.
const TARGET_TOKEN: u64 = 5;

/// Work that is asked of a model.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Work {
    /// Tokens that the encoder reads.
    pub source_tokens: u64,
    /// Positions that the decoder computes.
    pub target_tokens: u64,
}

impl Work {
    /// Units of the work, if targets turn out to be this share of what was asked for.
    pub fn units(self, share: f64) -> u64 {
        let target = (self.target_tokens as f64 * share).ceil() as u64;
        self.source_tokens.saturating_add(target.saturating_mul(TARGET_TOKEN)).max(1)
    }

    /// An even part of the work.
    pub const fn part_of(self, parts: u64) -> Self {
        let parts = if parts == 0 { 1 } else { parts };
        Self { source_tokens: self.source_tokens.div_ceil(parts), target_tokens: self.target_tokens.div_ceil(parts) }
    }

    /// Tokens of both kinds.
    pub const fn tokens(self) -> u64 {
        self.source_tokens.saturating_add(self.target_tokens)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_token_costs_five_source_tokens_and_nothing_is_free() {
        let work = Work { source_tokens: 100, target_tokens: 10 };
        assert_eq!((work.units(1.0), work.units(0.5)), (150, 125));
        assert_eq!(Work::default().units(1.0), 1);
        assert_eq!(work.part_of(3), Work { source_tokens: 34, target_tokens: 4 });
        assert_eq!(work.part_of(0), work);
    }
}
