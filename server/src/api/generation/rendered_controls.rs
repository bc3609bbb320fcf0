//! The JSON of a request's controls and text options that change anything, by the names of their fields.
//!
//! Part of `rendered`.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use crate::api::fields::TextOptions;
use crate::request::Controls;

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
    /// Biases by id. Names of JSON are strings.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = BTreeMap<String, f32>)]
    logit_bias: BTreeMap<u32, f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    allowed_token_ids: Option<Vec<u32>>,
    /// Words as ids, in any order; a word that was given as text is written in several ways.
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
    /// Takes them from the settled controls of a request, which lie over the `defaults` of its model. What a request
    /// has to say to be without a default is written, too.
    pub fn of(text: TextOptions, controls: &Controls, defaults: &Controls) -> Self {
        let unless = |number: f32, neutral: f32| (number != neutral).then_some(number);
        let penalty = controls.repetition_penalty;
        let (has_penalty, ngram) = (penalty != 1.0 || defaults.repetition_penalty != 1.0, controls.no_repeat_ngram);
        let bad_words = bad_words(controls, defaults);
        Self {
            repetition_penalty: has_penalty.then_some(penalty),
            presence_penalty: unless(controls.presence_penalty, 0.0),
            frequency_penalty: unless(controls.frequency_penalty, 0.0),
            no_repeat_ngram_size: (ngram != 0 || defaults.no_repeat_ngram != 0).then_some(ngram),
            logit_bias: controls.biases.iter().map(|bias| (bias.id, bias.bias)).collect(),
            allowed_token_ids: controls.allowed.as_ref().map(|allowed| allowed.ids().collect()),
            bad_words: (!bad_words.is_empty() || !defaults.bad_words.is_empty()).then_some(bad_words),
            stop_token_ids: controls.stop_tokens.clone(),
            include_stop_str_in_output: text.include_stop.then_some(true),
            skip_special_tokens: (!text.skip_special).then_some(false),
            return_tokens_as_token_ids: text.tokens_as_ids.then_some(true),
        }
    }
}

/// Words beside the ids that the checkpoint suppresses whatever a request says.
fn bad_words(controls: &Controls, defaults: &Controls) -> Vec<Vec<u32>> {
    let single = controls.banned.iter().filter(|id| !defaults.banned.contains(id)).map(|&id| vec![id]);
    single.chain(controls.bad_words.iter().cloned()).collect()
}
