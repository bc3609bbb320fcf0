//! Likelihood of the wanted tokens: loss, perplexity, and the share that was the most probable choice.
//!
//! Every token counts alike, whichever row it belongs to, as in a training loss.

/// Sums over the tokens so far.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Likelihood {
    /// Sum of the negative log-probabilities, in nats.
    pub surprise: f64,
    /// Tokens that were the most probable choice.
    pub hits: u64,
    /// Number of tokens.
    pub tokens: u64,
}

/// Likelihood of one wanted token.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WantedToken {
    /// Its log-probability, in nats.
    pub log_prob: f64,
    /// Whether it was the most probable choice.
    pub is_hit: bool,
}

impl Likelihood {
    /// Counts a token.
    pub fn add(&mut self, token: WantedToken) {
        self.surprise -= token.log_prob;
        self.hits += u64::from(token.is_hit);
        self.tokens += 1;
    }

    /// Adds the tokens of another sum.
    pub fn merge(&mut self, other: Self) {
        self.surprise += other.surprise;
        self.hits += other.hits;
        self.tokens += other.tokens;
    }

    /// Mean cross-entropy of a token, in nats; `None` without a token.
    pub fn loss(&self) -> Option<f64> {
        (self.tokens > 0).then(|| self.surprise / self.tokens as f64)
    }

    /// Perplexity: the exponential of the loss.
    pub fn perplexity(&self) -> Option<f64> {
        self.loss().map(f64::exp)
    }

    /// Share of the tokens that were the most probable choice.
    pub fn accuracy(&self) -> Option<f64> {
        (self.tokens > 0).then(|| self.hits as f64 / self.tokens as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_of_all_rows_count_alike() {
        let mut all = Likelihood::default();
        assert_eq!((all.loss(), all.perplexity(), all.accuracy()), (None, None, None));
        for probabilities in [&[0.5, 0.25][..], &[0.125]] {
            let mut row = Likelihood::default();
            for probability in probabilities {
                row.add(WantedToken { log_prob: f64::ln(*probability), is_hit: *probability == 0.5 });
            }
            all.merge(row);
        }
        assert!((all.perplexity().unwrap() - 4.0).abs() < 1e-12);
        assert_eq!(all.accuracy(), Some(1.0 / 3.0));
    }
}
