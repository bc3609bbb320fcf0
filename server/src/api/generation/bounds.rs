//! Bounds that a body is checked against; they depend on the model.

use kernels::Sampling;

use crate::api::Api;
use crate::api::fields::{IdBounds, PromptBounds, StopBounds};
use crate::api::structure::StructureBounds;
use crate::registry::ServedModel;
use crate::request::BeamSearch;

/// Bounds of a body's fields.
#[derive(Debug, Clone, Copy)]
pub struct RequestBounds {
    /// Bounds of `prompt`.
    pub prompts: PromptBounds,
    /// Bounds of `decoder_prompt`: one id more than targets have, because it may bring the start token.
    pub decoder_prompt: IdBounds,
    /// Largest `n`.
    pub choices: u32,
    /// Largest `logprobs`.
    pub top_log_probs: u32,
    /// Largest product of prompts and `n`.
    pub total_choices: usize,
    /// Bounds of `stop`.
    pub stop: StopBounds,
    /// Bounds of the form of an answer.
    pub structure: StructureBounds,
    /// Most messages of a conversation.
    pub messages: usize,
    /// First token of every target.
    pub start_token: u32,
    /// Sampling of a request that says nothing.
    pub sampling: Sampling,
    /// Beam search of a request that says nothing, of a width above 1 where it is one.
    pub search: BeamSearch,
    /// Whether the model has a number of tokens to generate for requests that say none.
    pub has_max_tokens: bool,
    /// Whether text can be turned into ids and back.
    pub takes_text: bool,
    /// Whether the model has a decoder.
    pub generates: bool,
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
            structure: limits.structure,
            messages: limits.messages,
            start_token: model.start_token,
            sampling: model.defaults.sampling,
            search: model.defaults.search,
            has_max_tokens: model.defaults.most_tokens.is_some(),
            takes_text: model.capabilities().text,
            generates: model.capabilities().generation,
        }
    }
}
