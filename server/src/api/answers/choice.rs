//! One continuation on its way from engine events to the pieces a client gets.
//!
//! Used by `answer` for whole answers and for streams. It knows tokens and text, no JSON and no HTTP.

use std::sync::Arc;

use model::Detokenizer;

use super::opening::Opening;
use super::prompt_logprobs::scores_json_bytes;
use super::scored_token::{ScoredToken, log_probs_json_bytes};
use super::stop::{StopMatcher, StopStrings};
use crate::engine::TokenScore;
use crate::request::{FinishReason, Rating};

/// Settings that all choices of a request share.
#[derive(Debug)]
pub struct ChoiceSettings {
    /// Strings that end a text.
    pub stop: Arc<StopStrings>,
    /// Tokens that end a text and have no part in it.
    pub silent_tokens: Vec<u32>,
    /// Number of first tokens in whose text a stop string does not count.
    pub min_tokens: u32,
    /// Whether the answer holds token ids.
    pub return_token_ids: bool,
    /// Whether the answer holds log-probabilities.
    pub return_log_probs: bool,
    /// Alternatives of each token of an echoed decoder prompt whose log-probabilities are wanted.
    pub echoed_log_probs: Option<u32>,
    /// Alternatives of each token of the decoder prompt, where the answer has these log-probabilities apart.
    pub prompt_log_probs: Option<u32>,
    /// Whether a token waits for the next piece while it adds nothing to this one.
    pub coalesce: bool,
    /// Beginning of every text.
    pub opening: Opening,
}

/// Part of a choice; the whole choice in an answer that is not streamed.
#[derive(Debug, Default, PartialEq)]
pub struct Piece {
    /// Text that is certain.
    pub text: String,
    /// Log-probabilities of the tokens since the last piece.
    pub log_probs: Vec<ScoredToken>,
    /// Log-probabilities of the decoder prompt, when asked for.
    pub prompt_log_probs: Option<Vec<TokenScore>>,
    /// Generated ids since the last piece, when asked for.
    pub token_ids: Vec<u32>,
    /// Encoder ids, in a choice's first piece, when asked for.
    pub prompt_token_ids: Option<Arc<[u32]>>,
    /// How a beam search rates the choice, in its last piece.
    pub rating: Option<Rating>,
    /// Why the choice ended, in its last piece.
    pub finish: Option<FinishReason>,
}

impl Piece {
    /// About how many bytes of JSON it takes.
    pub fn json_bytes(&self) -> usize {
        const ID_BYTES: usize = 8;
        let ids = self.token_ids.len() + self.prompt_token_ids.as_ref().map_or(0, |ids| ids.len());
        let prompt = self.prompt_log_probs.as_ref().map_or(0, |scores| scores_json_bytes(scores));
        self.text.len() + ID_BYTES * ids + log_probs_json_bytes(&self.log_probs) + prompt
    }
}

/// One continuation.
#[derive(Debug)]
pub struct Choice {
    settings: Arc<ChoiceSettings>,
    detokenizer: Option<Detokenizer>,
    stop: StopMatcher,
    /// Tokens of the decoder prompt whose scores came.
    scored: usize,
    generated: u32,
    /// Sum of the log-probabilities of generated tokens, where they come.
    log_prob: f64,
    /// Characters decoded so far, those before the generated ones included.
    characters: usize,
    pending: Piece,
    /// How a beam search rates it: told in the last piece.
    rating: Option<Rating>,
    /// Tokens generated since the last piece.
    unsent: u32,
    finished: bool,
}

impl Choice {
    /// Nothing generated yet. `source` is given back when ids are asked for.
    pub fn new(settings: &Arc<ChoiceSettings>, source: &Arc<[u32]>) -> Self {
        let opening = &settings.opening;
        let pending = Piece {
            text: opening.text.clone(),
            prompt_token_ids: settings.return_token_ids.then(|| Arc::clone(source)),
            prompt_log_probs: settings.prompt_log_probs.map(|_| Vec::new()),
            ..Piece::default()
        };
        Self {
            settings: Arc::clone(settings),
            detokenizer: opening.detokenizer.clone(),
            stop: StopMatcher::new(&settings.stop),
            scored: 0,
            generated: 0,
            log_prob: 0.0,
            characters: opening.text.chars().count(),
            pending,
            rating: None,
            unsent: 0,
            finished: false,
        }
    }

    /// Whether it ended; later events of it mean nothing.
    pub const fn is_finished(&self) -> bool {
        self.finished
    }

    /// Why it ended; known until the piece that says so is taken.
    pub const fn finish_reason(&self) -> Option<FinishReason> {
        self.pending.finish
    }

    /// Tokens generated so far.
    pub const fn generated(&self) -> u32 {
        self.generated
    }

    /// The mean log-probability of a generated token, where log-probabilities come; 0 without tokens.
    pub fn mean_log_prob(&self) -> f64 {
        self.log_prob / f64::from(self.generated.max(1))
    }

    /// The next token of the decoder prompt was scored.
    pub fn score(&mut self, score: TokenScore) {
        // The engine gives as many alternatives as the one of both that has more.
        let cut = |mut score: TokenScore, top: u32| {
            score.top.truncate(top as usize);
            score
        };
        if let (Some(top), Some(scores)) = (self.settings.prompt_log_probs, &mut self.pending.prompt_log_probs) {
            scores.push(cut(score.clone(), top));
        }
        if let Some(top) = self.settings.echoed_log_probs {
            let offset = self.settings.opening.offsets.get(self.scored).copied().unwrap_or(self.characters);
            self.pending.log_probs.push(ScoredToken { score: cut(score, top), offset });
        }
        self.scored += 1;
    }

    /// A token was generated. True when it completes a stop string: the choice is finished.
    pub fn token(&mut self, id: u32, score: Option<TokenScore>) -> bool {
        self.generated += 1;
        self.unsent += 1;
        if self.settings.return_token_ids {
            self.pending.token_ids.push(id);
        }
        let mut offset = self.characters;
        let is_silent = self.settings.silent_tokens.contains(&id);
        if !is_silent && let Some(mut detokenizer) = self.detokenizer.take() {
            self.text(detokenizer.push(id));
            offset += detokenizer.given_up();
            self.detokenizer = Some(detokenizer);
        }
        self.log_prob += score.as_ref().map_or(0.0, |score| f64::from(score.chosen.log_prob));
        if let Some(score) = score.filter(|_| self.settings.return_log_probs) {
            self.pending.log_probs.push(ScoredToken { score, offset });
        }
        if self.stop.stopped() {
            self.end(FinishReason::Stop);
        }
        self.finished
    }

    /// A beam search has rated it; the rest of its tokens follows.
    pub const fn rate(&mut self, rating: Rating) {
        self.rating = Some(rating);
    }

    /// The engine is done with it.
    pub fn finish(&mut self, reason: FinishReason) {
        if let Some(mut detokenizer) = self.detokenizer.take() {
            self.text(detokenizer.finish());
        }
        self.stop.finish(&mut self.pending.text);
        self.end(if self.stop.stopped() { FinishReason::Stop } else { reason });
    }

    /// Takes everything since the last call, when it is worth a message.
    pub fn take(&mut self) -> Option<Piece> {
        let pending = &self.pending;
        let worth = !pending.text.is_empty()
            || !pending.log_probs.is_empty()
            || !pending.token_ids.is_empty()
            || pending.finish.is_some()
            || (self.unsent > 0 && !self.settings.coalesce);
        worth.then(|| {
            self.unsent = 0;
            std::mem::take(&mut self.pending)
        })
    }

    fn text(&mut self, text: &str) {
        self.characters += text.chars().count();
        self.stop.take(text, self.generated <= self.settings.min_tokens, &mut self.pending.text);
    }

    const fn end(&mut self, reason: FinishReason) {
        self.pending.rating = self.rating.take();
        self.pending.finish = Some(reason);
        self.finished = true;
    }
}
