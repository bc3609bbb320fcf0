//! A sequence: one choice of a request, its tokens so far, and the purpose of each of its rows.
//!
//! A sequence keeps all of this through preemption. It owns no pages; see `running`.

use std::sync::Arc;

use kernels::{Draw, RuleId};

use super::plan::narrow;
use super::source::SourceKey;
use crate::request::{GenerationRequest, RequestId};

/// Identifies a sequence. Ids ascend in the order in which sequences have their turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SequenceId(pub u64);

/// A request, shared by its choices.
#[derive(Debug)]
pub struct Request {
    /// Id of the request.
    pub id: RequestId,
    /// The source, for the encoder.
    pub source: SourceKey,
    /// The decoder's first token.
    pub start_token: u32,
    /// The request as it was submitted.
    pub asked: GenerationRequest,
}

impl Request {
    /// Most target positions that a choice runs. The last token that may be generated is never read.
    pub fn target_positions(&self) -> usize {
        self.asked.lengths().target_positions()
    }

    /// Whether the answer is known without the model.
    pub fn is_trivial(&self) -> bool {
        self.asked.max_tokens == 0 && !self.asked.scores_prompt()
    }
}

/// One choice of a request, or all of them.
#[derive(Debug, Clone, Copy)]
pub struct Selection {
    /// The request.
    pub request: RequestId,
    /// The choice; `None` selects all.
    pub choice: Option<u32>,
}

impl Selection {
    /// Whether this choice of this request is selected.
    pub fn covers(self, request: RequestId, choice: u32) -> bool {
        self.request == request && self.choice.is_none_or(|selected| selected == choice)
    }
}

/// The purpose of a row, beside its K/V.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RowOutput {
    /// K/V only.
    Nothing,
    /// The log-probability of a given token, with `top` alternatives.
    Score {
        /// The token.
        next: u32,
        /// Number of alternatives.
        top: u32,
    },
    /// The next token.
    Sample,
}

/// One choice of a request.
#[derive(Debug)]
pub struct Sequence {
    /// Id of the sequence.
    pub id: SequenceId,
    /// The request.
    pub request: Arc<Request>,
    /// Index of the choice.
    pub choice: u32,
    /// Tokens after the decoder prompt.
    pub generated: Vec<u32>,
    /// Number of leading tokens of the decoder prompt whose scores were delivered.
    pub scored: usize,
}

impl Sequence {
    /// Whether it is selected.
    pub fn is_in(&self, selection: Selection) -> bool {
        selection.covers(self.request.id, self.choice)
    }

    /// Number of tokens: start token, decoder prompt and generated tokens.
    pub fn tokens(&self) -> usize {
        1 + self.request.asked.decoder_prompt.len() + self.generated.len()
    }

    /// The token at a position before [`Self::tokens`].
    pub fn token(&self, position: usize) -> u32 {
        let prompt = &self.request.asked.decoder_prompt;
        match position.checked_sub(1) {
            None => self.request.start_token,
            Some(index) if index < prompt.len() => prompt[index],
            Some(index) => self.generated[index - prompt.len()],
        }
    }

    /// Number of positions whose rows are needed with the tokens there are.
    pub fn positions_wanted(&self) -> usize {
        self.tokens().min(self.request.target_positions())
    }

    /// How the token that follows `generated` generated ones is drawn; `no_end` is the rule that bans the end tokens.
    /// The row is that of the first output.
    pub fn draw_after(&self, generated: usize, no_end: RuleId) -> Draw {
        let asked = &self.request.asked;
        Draw {
            row: 0,
            sampling: asked.sampling,
            choice: self.choice,
            position: narrow(1 + asked.decoder_prompt.len() + generated),
            rule: (generated < asked.min_tokens as usize).then_some(no_end),
        }
    }

    /// The purpose of the row at a wanted position. Scores and tokens that were delivered are not yielded again.
    pub fn output(&self, position: usize) -> RowOutput {
        let asked = &self.request.asked;
        if position + 1 == self.tokens() {
            return RowOutput::Sample;
        }
        match (asked.log_probs, asked.decoder_prompt.get(position)) {
            (Some(top), Some(&next)) if asked.score_prompt && position >= self.scored => RowOutput::Score { next, top },
            _ => RowOutput::Nothing,
        }
    }
}
