//! What the scheduler hands out: the work of one step, and the events that come of it.
//!
//! Read by the engine thread and the model. Flat and ragged, ready for the kernels; reused from step to step.

use std::ops::Range;

use kernels::{Choice, PageSpan, Segment};

use crate::request::{FinishReason, RequestId};

/// The work of one step. Encoder part and decoder rows belong to different sequences and may run in any order.
#[derive(Debug, Default)]
pub struct Plan {
    /// Layers of the encoder batch that is under way; see [`Self::encode`].
    pub(super) encode: EncodeStep,
    /// Decoder input ids, one a row. Rows of one sequence are consecutive, positions ascending.
    pub tokens: Vec<u32>,
    /// Of each row the place of its token among those drawn for the plan before, as that plan's `sampled` counts them; `tokens`
    /// says nothing of such a row. [`kernels::NO_PLACE`] where `tokens` has it, as it does unless the plan was made ahead.
    pub places: Vec<u32>,
    /// Position of each row's token; the start token's is 0.
    pub positions: Vec<u32>,
    /// Self-attention pages of each row, its own position included: `tokens = position + 1`.
    pub self_spans: Vec<PageSpan>,
    /// Cross-attention pages of each row: `tokens` = the source's length.
    pub cross_spans: Vec<PageSpan>,
    /// Page indices that all spans of this plan point into.
    pub tables: Vec<u32>,
    /// Rows whose logits are needed, ascending. Other numbers that say "logits row" index this list.
    pub logits_rows: Vec<u32>,
    /// Of each logits row, whether log-probabilities will be read: then all of its logits are needed.
    pub scored: Vec<bool>,
    /// Logits rows from which a token is drawn, ascending.
    pub sampled: Vec<u32>,
    /// How each of `sampled` is drawn.
    pub choices: Vec<Choice>,
}

impl Plan {
    /// Whether there is nothing to run. Such a plan is committed all the same.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty() && self.encode.layers.is_empty()
    }

    /// The encoder's part of the step, if there is one.
    pub fn encode(&self) -> Option<&EncodeStep> {
        (!self.encode.layers.is_empty()).then_some(&self.encode)
    }

    /// Empties everything and keeps the room.
    pub(super) fn clear(&mut self) {
        self.encode.clear();
        self.tokens.clear();
        self.places.clear();
        self.positions.clear();
        self.self_spans.clear();
        self.cross_spans.clear();
        self.tables.clear();
        self.logits_rows.clear();
        self.scored.clear();
        self.sampled.clear();
        self.choices.clear();
    }
}

/// Some layers of the encoder for one batch of sources. A batch of several is run in one step. A long source alone may
/// take several: it is then the same, row for row, from its first to its last, and the caller keeps the activations in
/// between. One that nobody wants any more is simply not mentioned again; the next batch begins at layer 0.
#[derive(Debug, Default)]
pub struct EncodeStep {
    /// Source ids of the whole batch, one a row.
    pub tokens: Vec<u32>,
    /// Position of each row in its source.
    pub positions: Vec<u32>,
    /// The rows of each source.
    pub segments: Vec<Segment>,
    /// Layers to run. Embedding comes before layer 0.
    pub layers: Range<usize>,
    /// The last layer is among them: the cross K/V are written in this step.
    pub is_last: bool,
    /// Only when `is_last`: the pages of each segment in [`Plan::tables`], `tokens` = the segment's length.
    pub cross_spans: Vec<PageSpan>,
}

impl EncodeStep {
    /// Whether the batch begins: its ids are to be embedded.
    pub const fn is_first(&self) -> bool {
        self.layers.start == 0
    }

    fn clear(&mut self) {
        self.tokens.clear();
        self.positions.clear();
        self.segments.clear();
        self.layers = 0..0;
        self.is_last = false;
        self.cross_spans.clear();
    }
}

/// Where the log-probabilities of an event are to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScoreAt {
    /// Index into [`Plan::logits_rows`], that is, row of the step's logits.
    pub logits_row: u32,
    /// Alternatives wanted.
    pub top: u32,
}

/// What happened to a request. For one choice in order; [`Event::Started`] comes before all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The first choice has its pages.
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
    /// The choice is complete.
    Finished {
        /// The request.
        request: RequestId,
        /// Its choice.
        choice: u32,
        /// Why.
        reason: FinishReason,
    },
    /// No token could be drawn for one of the request's choices; all of them are ended. Events of others that
    /// were in the same step may follow.
    Failed {
        /// The request.
        request: RequestId,
    },
}

impl Event {
    /// Whom it concerns.
    pub const fn request(&self) -> RequestId {
        match *self {
            Self::Started { request, .. }
            | Self::Scored { request, .. }
            | Self::Token { request, .. }
            | Self::Finished { request, .. }
            | Self::Failed { request } => request,
        }
    }

    /// The choice it concerns; `None` for all of the request.
    pub const fn choice(&self) -> Option<u32> {
        match *self {
            Self::Started { .. } | Self::Failed { .. } => None,
            Self::Scored { choice, .. } | Self::Token { choice, .. } | Self::Finished { choice, .. } => Some(choice),
        }
    }
}

/// Rows, positions and page tables are counted in 32 bits wherever the kernels read them.
pub(super) fn narrow(count: usize) -> u32 {
    u32::try_from(count).expect("no plan has 2^32 rows, positions or pages")
}
