//! One choice of a request: its tokens, what it still has to run, and what each position yields.
//!
//! Called by the scheduler. A waiting sequence owns no self pages, a running one does.

use std::sync::Arc;

use kernels::Choice;

use super::pages::{PageId, target_pages};
use super::plan::narrow;
use super::source::{SourceKey, SourceSlot};
use crate::request::{GenerationRequest, RequestId};

/// What all choices of a request share.
#[derive(Debug)]
pub struct Request {
    /// Name of the request.
    pub id: RequestId,
    /// What the encoder reads.
    pub source: SourceKey,
    /// The decoder's first token.
    pub start_token: u32,
    /// What was asked.
    pub asked: GenerationRequest,
}

impl Request {
    /// Target positions that a choice runs at most. The last token that may be generated is never read.
    pub fn target_positions(&self) -> usize {
        self.asked.lengths().target_positions()
    }

    /// Whether the answer is known without the model.
    pub fn is_trivial(&self) -> bool {
        self.asked.max_tokens == 0 && !self.asked.scores_prompt()
    }
}

/// What the row of a position is run for, beside its K/V.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RowOutput {
    /// Nothing.
    Nothing,
    /// The log-probability of a token that is given, with `top` alternatives.
    Score {
        /// The token.
        next: u32,
        /// Alternatives.
        top: u32,
    },
    /// The next token.
    Sample(Choice),
}

/// What a choice keeps through preemption.
#[derive(Debug)]
pub struct Sequence {
    /// What was asked.
    pub request: Arc<Request>,
    /// Which of the request's choices.
    pub choice: u32,
    /// Tokens after the decoder prompt.
    pub generated: Vec<u32>,
    /// Leading tokens of the decoder prompt whose scores were delivered.
    pub scored: usize,
}

impl Sequence {
    /// Start token, decoder prompt and generated tokens.
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

    /// Positions whose rows are needed with the tokens there are.
    pub fn positions_wanted(&self) -> usize {
        self.tokens().min(self.request.target_positions())
    }

    /// How the token that follows `generated` generated ones is chosen.
    pub fn choice_after(&self, generated: usize) -> Choice {
        let asked = &self.request.asked;
        Choice {
            sampling: asked.sampling,
            choice: self.choice,
            position: narrow(1 + asked.decoder_prompt.len() + generated),
            forbid_end: generated < asked.min_tokens as usize,
        }
    }

    /// What the row of a wanted position yields. Scores and tokens that were delivered are not yielded again.
    pub fn output(&self, position: usize) -> RowOutput {
        let asked = &self.request.asked;
        if position + 1 == self.tokens() {
            return RowOutput::Sample(self.choice_after(self.generated.len()));
        }
        match (asked.log_probs, asked.decoder_prompt.get(position)) {
            (Some(top), Some(&next)) if asked.score_prompt && position >= self.scored => RowOutput::Score { next, top },
            _ => RowOutput::Nothing,
        }
    }
}

/// A sequence in the queue.
#[derive(Debug)]
pub struct Waiting {
    /// The sequence.
    pub sequence: Sequence,
    /// The source it held when it was preempted.
    pub source: Option<SourceSlot>,
    /// Whether it ran before.
    pub preempted: bool,
}

/// Rows of a sequence in a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Grant {
    /// How many.
    pub rows: usize,
    /// It is one, whose token was not known when the plan was made: the plan before draws it. The row draws the token after it
    /// whatever becomes of the sequence in between.
    pub follows_draw: bool,
}

/// A sequence with a place among the running ones.
#[derive(Debug)]
pub struct Running {
    /// The sequence.
    pub sequence: Sequence,
    /// The source it holds.
    pub source: SourceSlot,
    /// Its self pages.
    pub pages: Vec<PageId>,
    /// Positions whose K/V are in `pages`.
    pub computed: usize,
    /// Positions after `computed` that the oldest plan under way runs.
    pub granted: Grant,
    /// Positions after those that the plan being made runs, or the one that was made ahead.
    pub next: Grant,
    /// Finished or cancelled; leaves with the next sweep, unless rows of it are under way.
    pub ended: bool,
}

impl Running {
    /// First position that the next plan may run.
    pub const fn position(&self) -> usize {
        self.computed + self.granted.rows
    }

    /// Whether the last of the rows under way draws the sequence's next token.
    pub fn draws(&self) -> bool {
        self.granted.follows_draw || self.granted.rows > 0 && self.position() == self.sequence.tokens()
    }

    /// What the next plan has to run: the positions whose tokens are there, or the one whose token is being drawn, unless that
    /// is the last.
    pub fn owed(&self) -> Grant {
        if self.ended {
            return Grant::default();
        }
        if self.draws() {
            let goes_on = self.sequence.generated.len() + 1 < self.sequence.request.asked.max_tokens as usize;
            return Grant { rows: usize::from(goes_on), follows_draw: goes_on };
        }
        Grant { rows: self.sequence.positions_wanted() - self.position(), follows_draw: false }
    }

    /// Pages that the rows of both plans need beyond those it has.
    pub fn missing_pages(&self) -> usize {
        target_pages(self.position() + self.next.rows).saturating_sub(self.pages.len())
    }

    /// The rows that were under way are done; the next ones are under way now.
    pub fn move_on(&mut self) {
        self.computed += self.granted.rows;
        self.granted = std::mem::take(&mut self.next);
    }
}
