//! Events of a step: what happened to each request, in token ids and rows.
//!
//! Made by the scheduler; the engine thread turns them into messages for clients.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use kernels::TokenScore;

use crate::request::{ConstraintError, FinishReason, Rating, RequestId};

/// Where the log-probabilities of an event are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScoreAt {
    /// Index into [`super::Plan::outputs`], which is the row of the step's logits.
    pub logits_row: u32,
    /// Number of alternatives wanted.
    pub top: u32,
}

/// The place of a token's log-probabilities: a beam search keeps tokens before it is known whether they are told.
/// Clones are the same place, which is gone with the last of them.
#[derive(Debug, Clone, Default)]
pub struct HeldScore(Arc<OnceLock<TokenScore>>);

impl HeldScore {
    /// Puts what was read into the place.
    pub fn hold(&self, score: TokenScore) {
        // A token is kept once, and read once.
        let _ = self.0.set(score);
    }

    /// The log-probabilities in the place, once they were read.
    pub fn get(&self) -> Option<&TokenScore> {
        self.0.get()
    }
}

impl PartialEq for HeldScore {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// Where the log-probabilities of a generated token are.
#[derive(Debug, Clone, PartialEq)]
pub enum TokenScoreAt {
    /// In the logits of the step.
    Logits(ScoreAt),
    /// In the place that an event [`Event::Kept`] had, of this step or of one before.
    Held(HeldScore),
}

/// Why a row gave no token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoToken {
    /// The request's controls and constraint refuse every id.
    NothingLeft,
    /// An exact search ended at its bound of steps before it found a target that the request's controls allow.
    OutOfSteps,
    /// The constraint cannot be followed.
    Unfollowed(ConstraintError),
    /// No thread began to find what the constraint allows.
    NoThread {
        /// For so long.
        waited: Duration,
    },
    /// Ids could have been chosen, but their logits are no finite numbers.
    NotFinite,
}

/// Something that happened to a request. Events of one choice come in order; [`Event::Started`] comes before all
/// others.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The first choice has its pages, or the source of an encoder request entered the encoder.
    Started {
        /// The request.
        request: RequestId,
        /// Source tokens whose K/V another request has or had: all or none.
        cached_tokens: u32,
    },
    /// A token of the decoder prompt was scored.
    Scored {
        /// The request.
        request: RequestId,
        /// Its choice.
        choice: u32,
        /// The token.
        token: u32,
        /// Its log-probability.
        score: ScoreAt,
    },
    /// A token was generated.
    Token {
        /// The request.
        request: RequestId,
        /// Its choice.
        choice: u32,
        /// The token.
        token: u32,
        /// Its log-probability, when wanted.
        score: Option<TokenScoreAt>,
    },
    /// Tokens were drafted for a choice and verified. Comes before the tokens that were drawn.
    Drafted {
        /// The request.
        request: RequestId,
        /// Its choice.
        choice: u32,
        /// Number of drafted tokens.
        drafted: u32,
        /// Number of them that were right.
        accepted: u32,
    },
    /// A beam search keeps a token, whose log-probabilities are to be read now. It may never be told.
    Kept {
        /// The request.
        request: RequestId,
        /// The token.
        token: u32,
        /// Its log-probability.
        score: ScoreAt,
        /// Where that is kept.
        held: HeldScore,
    },
    /// A beam search is over, and this choice is one of its hypotheses. Comes before the tokens that
    /// are still to be told, one of which may end the text for a client.
    Rated {
        /// The request.
        request: RequestId,
        /// Its choice.
        choice: u32,
        /// Its rating.
        rating: Rating,
    },
    /// The choice is complete.
    Finished {
        /// The request.
        request: RequestId,
        /// Its choice.
        choice: u32,
        /// Why it ended.
        reason: FinishReason,
    },
    /// The result of an encoder request was read, which completes it.
    Encoded {
        /// The request.
        request: RequestId,
        /// Index among the step's results.
        result: u32,
    },
    /// One of the request's choices cannot go on, which ends all of them. Events of other choices from the same step
    /// may follow.
    Failed {
        /// The request.
        request: RequestId,
        /// Why there was no token.
        cause: NoToken,
    },
}

impl Event {
    /// The request that the event concerns.
    pub const fn request(&self) -> RequestId {
        match *self {
            Self::Started { request, .. }
            | Self::Scored { request, .. }
            | Self::Token { request, .. }
            | Self::Kept { request, .. }
            | Self::Drafted { request, .. }
            | Self::Rated { request, .. }
            | Self::Finished { request, .. }
            | Self::Encoded { request, .. }
            | Self::Failed { request, .. } => request,
        }
    }

    /// The choice that the event concerns; `None` for all of the request.
    pub const fn choice(&self) -> Option<u32> {
        match *self {
            Self::Started { .. } | Self::Kept { .. } | Self::Encoded { .. } | Self::Failed { .. } => None,
            Self::Scored { choice, .. }
            | Self::Token { choice, .. }
            | Self::Drafted { choice, .. }
            | Self::Rated { choice, .. }
            | Self::Finished { choice, .. } => Some(choice),
        }
    }
}
