//! Memory of answers: a bound on all that are not written yet, from admission on.
//!
//! Used by `generation`. A whole answer exists until its client has taken it, and events of a stream wait for theirs,
//! so without a bound clients that do not read would decide how much memory the server takes.

use crate::api::http::{ApiError, Budget, BudgetLimits, Full, Share};
use crate::client_connection::Peer;

/// Bytes of a token on its way to a client: the engine's event, its text, and that text as JSON.
const TOKEN_BYTES: usize = 96;
/// Bytes of an answer and of each of its choices beside its tokens.
const HEAD_BYTES: usize = 1024;

/// The largest size that an answer can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnswerSize {
    /// Number of choices of all prompts.
    pub choices: usize,
    /// Tokens of all of them, those of an echoed decoder prompt included.
    pub tokens: usize,
    /// Most bytes of a token's text as JSON, which count where an answer repeats it.
    pub token_bytes: usize,
    /// Bytes of the log-probabilities of all tokens, alternatives included.
    pub log_prob_bytes: usize,
    /// Bytes that the engine holds for it beside.
    pub held_bytes: usize,
    /// Its repetitions.
    pub repeats: Repeats,
}

/// Repetitions in an answer: of itself, and of the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Repeats {
    /// How often it holds its text and its log-probabilities once more.
    pub pieces: usize,
    /// Bytes of the request that it gives back.
    pub request_bytes: usize,
}

impl AnswerSize {
    fn bytes(self) -> usize {
        let Repeats { pieces, request_bytes } = self.repeats;
        let parts = [
            HEAD_BYTES.saturating_mul(1 + self.choices),
            (TOKEN_BYTES + pieces * self.token_bytes).saturating_mul(self.tokens),
            self.log_prob_bytes.saturating_mul(1 + pieces),
            request_bytes,
            self.held_bytes,
        ];
        parts.into_iter().fold(0, usize::saturating_add)
    }
}

/// The memory of all answers. Clones share it.
#[derive(Debug, Clone)]
pub struct AnswerBudget(Budget);

impl AnswerBudget {
    /// A budget with these limits.
    pub fn new(limits: BudgetLimits) -> Self {
        Self(Budget::new(limits))
    }

    /// Bytes that answers hold now.
    pub fn used_bytes(&self) -> usize {
        self.0.used_bytes()
    }

    /// Reserves memory for an answer of this size to `peer`. An answer that is larger than a peer's share takes all of
    /// that share.
    ///
    /// # Errors
    /// When the answers under way leave too little.
    pub fn reserve(&self, size: AnswerSize, peer: Option<Peer>) -> Result<Share, ApiError> {
        self.reserve_up_to(size.bytes(), peer)
    }

    /// Reserves memory for an answer of so many bytes to `peer`, as [`Self::reserve`] does.
    ///
    /// # Errors
    /// When the answers under way leave too little.
    pub fn reserve_up_to(&self, bytes: usize, peer: Option<Peer>) -> Result<Share, ApiError> {
        self.reserve_bytes(bytes.min(self.largest_bytes()), peer)
    }

    /// Most bytes that one answer may reserve.
    pub const fn largest_bytes(&self) -> usize {
        self.0.limits().peer_bytes
    }

    /// Reserves memory for an answer of so many bytes to `peer`, at most [`Self::largest_bytes`].
    ///
    /// # Errors
    /// When the answers under way leave too little.
    pub fn reserve_bytes(&self, bytes: usize, peer: Option<Peer>) -> Result<Share, ApiError> {
        let mut share = self.0.share(peer);
        match share.grow_to(bytes) {
            Ok(()) => Ok(share),
            Err(Full::All { limit } | Full::Peer { limit }) => Err(ApiError::TooManyAnswers { limit }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONCE: Repeats = Repeats { pieces: 0, request_bytes: 0 };
    const SMALL: AnswerSize =
        AnswerSize { choices: 1, tokens: 10, token_bytes: 50, log_prob_bytes: 0, held_bytes: 0, repeats: ONCE };

    #[test]
    fn answers_have_room_together_or_are_told_that_there_is_none() {
        let bytes = 2 * SMALL.bytes();
        let budget = AnswerBudget::new(BudgetLimits { bytes, peer_bytes: bytes });
        let first = budget.reserve(SMALL, None).unwrap();
        let second = budget.reserve(SMALL, None).unwrap();
        assert_eq!(budget.reserve(SMALL, None).unwrap_err(), ApiError::TooManyAnswers { limit: bytes });
        drop(first);
        let mut third = budget.reserve(SMALL, None).unwrap();
        third.settle(100);
        assert_eq!(budget.used_bytes(), SMALL.bytes() + 100);
        drop((second, third));
        assert_eq!(budget.used_bytes(), 0);
    }

    #[test]
    fn an_answer_larger_than_its_peer_s_part_is_made_alone_and_leaves_room_for_others() {
        let [here, there] = ["10.0.0.1:1", "10.0.0.2:1"].map(|address| Some(Peer(address.parse().unwrap())));
        let budget = AnswerBudget::new(BudgetLimits { bytes: 2 << 20, peer_bytes: 1 << 20 });
        let small = budget.reserve(SMALL, here).unwrap();
        let large = AnswerSize { log_prob_bytes: usize::MAX, ..SMALL };
        assert!(budget.reserve(large, here).is_err());
        drop(small);
        let _all = budget.reserve(large, here).unwrap();
        assert!(budget.reserve(SMALL, here).is_err());
        assert!(budget.reserve(SMALL, there).is_ok());
    }

    #[test]
    fn an_answer_that_repeats_itself_or_its_request_takes_more() {
        let repeats = Repeats { pieces: 2, request_bytes: 5000 };
        let once = AnswerSize { log_prob_bytes: 300, ..SMALL };
        let more = AnswerSize { repeats, ..once }.bytes() - once.bytes();
        assert_eq!(more, 2 * (10 * 50 + 300) + 5000);
    }
}
