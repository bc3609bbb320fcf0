//! Settings that a response repeats, read from the fields of its request.
//!
//! Used by `parse`.

use std::collections::BTreeMap;

use kernels::Sampling;

use super::fields::{
    MAX_OUTPUT_TOKENS, MAX_TOOL_CALLS, PARALLEL_TOOL_CALLS, PROMPT_CACHE_KEY, PROMPT_CACHE_RETENTION,
    SAFETY_IDENTIFIER, TOOL_CHOICE, USER,
};
use crate::api::answers::{FixedSettings, ReasoningSettings, ResponseLabels, ResponseSettings, TextSettings};
use crate::api::fields::{TEMPERATURE, TOP_P};
use crate::api::http::ApiError;
use crate::api::json::{Field, Fields};
use crate::api::structure::TextFormat;

/// Settings with readers of their own, as they were given.
pub struct GivenSettings {
    /// `instructions`.
    pub instructions: Option<Result<String, ApiError>>,
    /// `metadata`.
    pub metadata: Option<Result<BTreeMap<String, String>, ApiError>>,
    /// `reasoning.effort`.
    pub effort: Option<String>,
    /// `text.format`.
    pub format: TextFormat,
    /// Alternatives of each token, of log-probabilities that are wanted.
    pub log_probs: Option<u32>,
    /// How tokens are drawn.
    pub sampling: Sampling,
}

/// Reads the settings of a request.
///
/// # Errors
/// The [`ApiError`] of the first field that is wrong.
pub fn read_settings(fields: &Fields, given: GivenSettings) -> Result<ResponseSettings, ApiError> {
    let number = |field: &Field| -> Result<Option<u64>, ApiError> {
        Ok(fields.whole(field)?.and_then(|number| u64::try_from(number).ok()))
    };
    // The shortest decimal number, as it stands in generation_config.json.
    let number_of = |field: &Field, drawn: f32| match fields.get(field.name) {
        Some(_) => fields.real(field),
        None => Ok(drawn.to_string().parse().unwrap_or(drawn.into())),
    };
    Ok(ResponseSettings {
        instructions: given.instructions.transpose()?,
        max_output_tokens: number(&MAX_OUTPUT_TOKENS)?,
        temperature: number_of(&TEMPERATURE, given.sampling.temperature)?,
        top_p: number_of(&TOP_P, given.sampling.top_p)?,
        top_logprobs: given.log_probs.unwrap_or(0),
        tool_choice: fields.choice(&TOOL_CHOICE)?,
        parallel_tool_calls: fields.flag(&PARALLEL_TOOL_CALLS)?,
        max_tool_calls: number(&MAX_TOOL_CALLS)?,
        reasoning: ReasoningSettings { effort: given.effort, summary: None },
        labels: ResponseLabels {
            user: fields.text(USER.name)?,
            safety_identifier: fields.text(SAFETY_IDENTIFIER.name)?,
            prompt_cache_key: fields.text(PROMPT_CACHE_KEY.name)?,
            prompt_cache_retention: fields.text(PROMPT_CACHE_RETENTION.name)?,
        },
        metadata: given.metadata.transpose()?.unwrap_or_default(),
        text: TextSettings::new(given.format),
        fixed: FixedSettings::default(),
    })
}
