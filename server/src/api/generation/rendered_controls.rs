//! The JSON of a request's controls and text options that change anything, by the names of their fields.
//!
//! Part of `rendered`.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::call::GenerationCall;
use super::tokenise::TokenisedCall;

/// Controls and text options. Those that change nothing are left out.
#[derive(Debug, Serialize, ToSchema)]
pub struct RenderedControls {
    #[serde(skip_serializing_if = "Option::is_none")]
    repetition_penalty: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    presence_penalty: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    frequency_penalty: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    no_repeat_ngram_size: Option<u32>,
    /// Biases by id.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    logit_bias: BTreeMap<u32, f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    allowed_token_ids: Option<Vec<u32>>,
    /// Words as ids; a word that was given as text is written in several ways.
    #[serde(skip_serializing_if = "Option::is_none")]
    bad_words: Option<Vec<Vec<u32>>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    stop_token_ids: Vec<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    include_stop_str_in_output: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    skip_special_tokens: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    return_tokens_as_token_ids: Option<bool>,
}

impl RenderedControls {
    /// Takes them from a call, with the ids of its words.
    pub fn of(call: &GenerationCall, tokens: &TokenisedCall) -> Self {
        let (controls, text) = (&call.controls, call.text_options);
        let unless = |number: f32, neutral: f32| (number != neutral).then_some(number);
        Self {
            repetition_penalty: controls.repetition_penalty,
            presence_penalty: unless(controls.presence_penalty, 0.0),
            frequency_penalty: unless(controls.frequency_penalty, 0.0),
            no_repeat_ngram_size: controls.no_repeat_ngram,
            logit_bias: controls.biases.iter().map(|bias| (bias.id, bias.bias)).collect(),
            allowed_token_ids: controls.allowed.as_ref().map(|allowed| allowed.ids().collect()),
            bad_words: tokens.bad_words.clone(),
            stop_token_ids: controls.stop_tokens.clone(),
            include_stop_str_in_output: text.include_stop.then_some(true),
            skip_special_tokens: (!text.skip_special).then_some(false),
            return_tokens_as_token_ids: text.tokens_as_ids.then_some(true),
        }
    }
}
