//! Events of a step: what happened to each request, in token ids and rows.
//!
//! Made by the scheduler; the engine thread turns them into messages for clients.

use crate::request::{FinishReason, Rating, RequestId};

/// Where the log-probabilities of an event are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScoreAt {
    /// Index into [`super::Plan::outputs`], which is the row of the step's logits.
    pub logits_row: u32,
    /// Number of alternatives wanted.
    pub top: u32,
}

/// Something that happened to a request. Events of one choice come in order; [`Event::Started`] comes before all
/// others.
#[derive(Debug, Clone, Copy, PartialEq)]
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
        score: Option<ScoreAt>,
    },
    /// A beam search is over, and this choice is one of its hypotheses. Comes before the last event of the choice.
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
    /// No token could be drawn for one of the request's choices, which ends all of them. Events of other choices from
    /// the same step may follow.
    Failed {
        /// The request.
        request: RequestId,
        /// Whether its controls refuse ids, so that none may have been left.
        refuses_ids: bool,
    },
}

impl Event {
    /// The request that the event concerns.
    pub const fn request(&self) -> RequestId {
        match *self {
            Self::Started { request, .. }
            | Self::Scored { request, .. }
            | Self::Token { request, .. }
            | Self::Rated { request, .. }
            | Self::Finished { request, .. }
            | Self::Encoded { request, .. }
            | Self::Failed { request, .. } => request,
        }
    }

    /// The choice that the event concerns; `None` for all of the request.
    pub const fn choice(&self) -> Option<u32> {
        match *self {
            Self::Started { .. } | Self::Encoded { .. } | Self::Failed { .. } => None,
            Self::Scored { choice, .. }
            | Self::Token { choice, .. }
            | Self::Rated { choice, .. }
            | Self::Finished { choice, .. } => Some(choice),
        }
    }
}
