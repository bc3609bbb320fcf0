//! Events that the engine answers a request with.

use kernels::TokenScore;

/// Why a choice ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinishReason {
    /// An end token was chosen.
    Stop,
    /// `max_tokens` were generated.
    Length,
}

impl FinishReason {
    /// The reason's name in answers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
        }
    }
}

/// Where the fault of a request lies that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// In the server, at this time: the same request may succeed later.
    Passing,
    /// In the server, which has more to do than it can.
    Overloaded,
    /// In the server or the model: the same request would fail again.
    Lasting,
    /// In the request: what it asks for cannot be.
    Refused,
}

/// How a beam search rates one of its hypotheses.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rating {
    /// `log_prob` divided by a power of the number of tokens: hypotheses are ordered by it. Minus infinity for a choice
    /// without a hypothesis, where the search found fewer than were asked for.
    pub score: f32,
    /// Sum of the tokens' log-probabilities, edited as the request asks.
    pub log_prob: f32,
    /// Whether no target that was not given is better, in a search among finite targets; `None` in any other.
    pub is_exact: Option<bool>,
}

impl Rating {
    /// The rating of a hypothesis without tokens, which is certain.
    pub const fn of_no_tokens(is_exact: Option<bool>) -> Self {
        Self { score: 0.0, log_prob: 0.0, is_exact }
    }
}

/// An event of a request's stream. Events of one choice come in order.
#[derive(Debug, Clone, PartialEq)]
pub enum GenerationEvent {
    /// The source has pages. Sent once, first.
    Started {
        /// Source tokens whose cross K/V another request already had (all of them or none).
        cached_tokens: u32,
    },
    /// The source is encoded. Not sent if it was so when the request started.
    SourceReady,
    /// The next token of the decoder prompt was scored.
    Scored {
        /// Choice it belongs to.
        choice: u32,
        /// Its log-probabilities.
        score: TokenScore,
    },
    /// A token was generated; end tokens are included.
    Token {
        /// Choice it belongs to.
        choice: u32,
        /// The token.
        id: u32,
        /// Its log-probabilities, when asked for.
        score: Option<TokenScore>,
    },
    /// Tokens were drafted for a choice and verified. Comes before the tokens that were drawn.
    Drafted {
        /// Choice it belongs to.
        choice: u32,
        /// Number of drafted tokens.
        drafted: u32,
        /// Number of them that were right.
        accepted: u32,
    },
    /// A beam search is over, and this choice is one of its hypotheses. Comes before the tokens that
    /// are still to be told, one of which may end the text for a client.
    Rated {
        /// Choice that is rated.
        choice: u32,
        /// Its rating.
        rating: Rating,
    },
    /// The choice is complete; no event of it follows.
    Finished {
        /// Choice that ended.
        choice: u32,
        /// Why it ended.
        reason: FinishReason,
    },
    /// The request failed; no event follows.
    Failed {
        /// Message for the client.
        message: String,
        /// Where the fault lies.
        kind: FailureKind,
    },
}
