//! What a body is checked against, for the model that it asks.

use super::ids::IdBounds;
use super::prompt::PromptBounds;
use super::stop_field::StopBounds;
use crate::api::Api;
use crate::registry::ServedModel;

/// What a body is checked against.
#[derive(Debug, Clone, Copy)]
pub struct RequestBounds {
    /// `prompt`.
    pub prompts: PromptBounds,
    /// `decoder_prompt`: one id more than targets have, for it may bring the start token.
    pub decoder_prompt: IdBounds,
    /// `n`, at most.
    pub choices: u32,
    /// `logprobs`, at most.
    pub top_log_probs: u32,
    /// Prompts times `n`, at most.
    pub total_choices: usize,
    /// `stop`.
    pub stop: StopBounds,
    /// What the decoder begins with.
    pub start_token: u32,
    /// Whether text can be turned into ids and back.
    pub takes_text: bool,
}

impl RequestBounds {
    /// The bounds of requests for `model`.
    pub fn of(api: &Api, model: &ServedModel) -> Self {
        let (limits, lengths) = (&api.limits, model.limits());
        let source_ids = IdBounds { vocab: model.source_vocab, most: lengths.source_tokens };
        Self {
            prompts: PromptBounds { prompts: limits.prompts, ids: source_ids },
            decoder_prompt: IdBounds { vocab: model.target_vocab, most: lengths.target_tokens + 1 },
            choices: limits.choices,
            top_log_probs: limits.top_log_probs,
            total_choices: limits.total_choices,
            stop: StopBounds { strings: limits.stop_strings, bytes: limits.stop_bytes },
            start_token: model.start_token,
            takes_text: model.capabilities().text,
        }
    }
}
