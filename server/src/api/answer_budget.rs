//! Memory of the answers under way: what all of them may take together, from admission until they are written.
//!
//! Used by `completions`. A whole answer exists until its client has taken it, and events of a stream wait for theirs,
//! so without a bound clients that do not read would decide how much memory the server takes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::error::ApiError;

/// Bytes of a token on its way to a client: the engine's event, its text, and that text as JSON.
const TOKEN_BYTES: usize = 96;
/// Bytes of a log-probability: its token's name and number in memory, and both as JSON.
const LOG_PROB_BYTES: usize = 128;
/// Bytes of an answer and of each of its choices beside its tokens.
const HEAD_BYTES: usize = 1024;

/// What an answer is made of at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnswerSize {
    /// Choices of all prompts.
    pub choices: usize,
    /// Tokens of all of them, those of an echoed decoder prompt included.
    pub tokens: usize,
    /// Log-probabilities of all tokens, alternatives included.
    pub log_probs: usize,
}

impl AnswerSize {
    fn bytes(self) -> usize {
        let parts = [
            HEAD_BYTES.saturating_mul(1 + self.choices),
            TOKEN_BYTES.saturating_mul(self.tokens),
            LOG_PROB_BYTES.saturating_mul(self.log_probs),
        ];
        parts.into_iter().fold(0, usize::saturating_add)
    }
}

/// The memory of all answers. Clones share it.
#[derive(Debug, Clone)]
pub struct AnswerBudget {
    used: Arc<AtomicUsize>,
    limit: usize,
}

impl AnswerBudget {
    /// A budget of `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self { used: Arc::default(), limit }
    }

    /// Bytes that answers hold now.
    pub fn used_bytes(&self) -> usize {
        self.used.load(Ordering::Acquire)
    }

    /// Room for an answer of this size. One that is larger than the budget takes all of it, when nobody has any.
    ///
    /// # Errors
    /// When the answers under way leave too little.
    pub fn reserve(&self, size: AnswerSize) -> Result<AnswerShare, ApiError> {
        let bytes = size.bytes().min(self.limit);
        let room = |used: usize| used.checked_add(bytes).filter(|all| *all <= self.limit);
        match self.used.fetch_update(Ordering::AcqRel, Ordering::Acquire, room) {
            Ok(_) => Ok(AnswerShare { budget: self.clone(), bytes }),
            Err(_) => Err(ApiError::TooManyAnswers { limit: self.limit }),
        }
    }
}

/// One answer's part; given back when it is dropped.
#[derive(Debug)]
pub struct AnswerShare {
    budget: AnswerBudget,
    bytes: usize,
}

impl AnswerShare {
    /// The answer is known to have so many bytes. It has them now, so this takes even what the budget does not have.
    pub fn settle(&mut self, bytes: usize) {
        self.budget.used.fetch_add(bytes, Ordering::AcqRel);
        self.budget.used.fetch_sub(self.bytes, Ordering::AcqRel);
        self.bytes = bytes;
    }
}

impl Drop for AnswerShare {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: AnswerSize = AnswerSize { choices: 1, tokens: 10, log_probs: 0 };

    #[test]
    fn answers_have_room_together_or_are_told_that_there_is_none() {
        let budget = AnswerBudget::new(2 * SMALL.bytes());
        let first = budget.reserve(SMALL).unwrap();
        let second = budget.reserve(SMALL).unwrap();
        assert_eq!(budget.reserve(SMALL).unwrap_err(), ApiError::TooManyAnswers { limit: 2 * SMALL.bytes() });
        drop(first);
        let mut third = budget.reserve(SMALL).unwrap();
        third.settle(100);
        assert_eq!(budget.used_bytes(), SMALL.bytes() + 100);
        drop((second, third));
        assert_eq!(budget.used_bytes(), 0);
    }

    #[test]
    fn an_answer_larger_than_the_budget_is_made_alone() {
        let budget = AnswerBudget::new(1 << 20);
        let small = budget.reserve(SMALL).unwrap();
        let large = AnswerSize { log_probs: usize::MAX, ..SMALL };
        assert!(budget.reserve(large).is_err());
        drop(small);
        let _all = budget.reserve(large).unwrap();
        assert!(budget.reserve(SMALL).is_err());
    }
}
