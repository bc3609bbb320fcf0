//! The body of `POST /v1/completions`, read and checked field by field.
//!
//! Called by `handler`. Pure: no tokenizer, no engine, no clock.

use super::draft::Draft;
use super::fields::{ADD_SPECIAL_TOKENS, CHOICES, DECODER_PROMPT, ECHO, LOG_PROBS, MAX_TOKENS, RETURN_TOKEN_IDS};
use super::neutral::REQUEST;
use crate::api::controls::GivenControls;
use crate::api::fields::{
    BesideBeams, IGNORE_EOS, Prompt, PromptNames, Prompts, STREAM, TextOptions, given_stop, given_stream_options,
    read_beams, read_best_of, read_cache_salt, read_min_tokens, read_prompt_log_probs, read_sampling, read_seed,
    read_speculation, read_timeout, rows_field, saturated, to_u32,
};
use crate::api::generation::{CallNames, CallSources, Excesses, GenerationCall, RequestBounds, validate};
use crate::api::http::{ApiError, TargetNames};
use crate::api::json::Fields;
use crate::api::texts::Sources;

/// Reads a request's body.
///
/// # Errors
/// The [`ApiError`] of the first rule that it breaks; invalid JSON is reported first.
pub fn parse(body: &[u8], bounds: &RequestBounds) -> Result<GenerationCall, ApiError> {
    let Draft { fields, prompts, suffix, decoder_prompts, stop, controls, structure, stream_options } =
        Draft::read(body, bounds)?;
    let stream = fields.flag(&STREAM)?;
    let choices = fields.whole_up_to(&CHOICES, u64::from(bounds.choices))?.map_or(1, to_u32);
    let echo = fields.flag(&ECHO)?;
    let prompt_log_probs = read_prompt_log_probs(&fields, bounds.top_log_probs, stream)?;
    let max_tokens = read_max_tokens(&fields, echo || prompt_log_probs.is_some(), bounds)?;
    let Prompts { list: prompts, names: prompt_names, excess } = given_prompts(prompts, bounds)?;
    let beginnings = given_beginnings(decoder_prompts, bounds)?;
    let decoder_excess = beginnings.as_ref().and_then(|read| read.excess);
    let sampling = read_sampling(&fields, bounds.sampling)?;
    let beams = read_beams(&fields, BesideBeams { choices, most: bounds.choices, sampling, default: bounds.search })?;
    let best_of = if beams.is_some() { None } else { read_best_of(&fields, choices, bounds.choices)? };
    let call = GenerationCall {
        names: call_names(&fields, &beginnings),
        sources: CallSources::Prompts(Sources { prompts, names: prompt_names }),
        beginnings: beginnings.map_or_else(Vec::new, |read| read.list),
        suffix: suffix.transpose()?.filter(|suffix| !suffix.is_empty()),
        cache_salt: read_cache_salt(&fields)?,
        timeout: read_timeout(&fields)?,
        add_special_tokens: Some(fields.flag(&ADD_SPECIAL_TOKENS)?),
        max_tokens,
        min_tokens: read_min_tokens(&fields)?,
        ignore_eos: fields.flag(&IGNORE_EOS)?,
        choices,
        best_of,
        beams,
        sampling,
        seed: read_seed(&fields)?,
        stop: given_stop(stop, bounds.takes_text)?,
        controls: GivenControls::read(&fields, controls, bounds.takes_text)?,
        structure: structure.given(bounds.structure, bounds.takes_text)?,
        speculation: read_speculation(&fields)?,
        text_options: TextOptions::read(&fields)?,
        log_probs: fields.whole_up_to(&LOG_PROBS, u64::from(bounds.top_log_probs))?.map(to_u32),
        prompt_log_probs,
        echo,
        stream,
        stream_options: given_stream_options(stream_options, stream)?,
        return_token_ids: fields.flag(&RETURN_TOKEN_IDS)?,
    };
    for unsupported in REQUEST {
        unsupported.check(&fields)?;
    }
    fields.finish()?;
    validate(&call, bounds, Excesses { source: excess, beginning: decoder_excess })?;
    Ok(call)
}

/// OpenAI's default holds where the model has none.
fn read_max_tokens(fields: &Fields, scores: bool, bounds: &RequestBounds) -> Result<Option<u32>, ApiError> {
    if bounds.has_max_tokens && fields.get(MAX_TOKENS.name).is_none() {
        return Ok(None);
    }
    let number = fields.whole(&MAX_TOKENS)?.map_or(0, saturated);
    if number == 0 && !scores {
        let (value, range) = ("0".to_owned(), "at least 1".to_owned());
        return Err(ApiError::OutOfRange { param: MAX_TOKENS.name, value, range });
    }
    Ok(Some(number))
}

fn call_names(fields: &Fields, beginnings: &Option<Prompts>) -> CallNames {
    let gives_max_tokens = fields.get(MAX_TOKENS.name).is_some();
    let target = TargetNames { beginning: DECODER_PROMPT.into(), max_tokens: MAX_TOKENS.name, gives_max_tokens };
    let are_listed = beginnings.as_ref().is_some_and(|read| matches!(read.names, PromptNames::Listed(_)));
    CallNames { target, are_listed, log_probs: LOG_PROBS.name, rows: rows_field(fields) }
}

fn given_prompts(read: Option<Result<Prompts, ApiError>>, bounds: &RequestBounds) -> Result<Prompts, ApiError> {
    let read = read.ok_or(ApiError::Missing { param: "prompt" })??;
    if !bounds.takes_text && read.list.iter().any(|prompt| matches!(prompt, Prompt::Text(_))) {
        return Err(ApiError::NeedsTokenizer { param: "prompt", instead: "give token ids" });
    }
    Ok(read)
}

/// Beginnings of targets, if any are given.
fn given_beginnings(
    read: Option<Result<Prompts, ApiError>>,
    bounds: &RequestBounds,
) -> Result<Option<Prompts>, ApiError> {
    let read = read.transpose()?;
    let has_text = |read: &Prompts| read.list.iter().any(|prompt| matches!(prompt, Prompt::Text(_)));
    if !bounds.takes_text && read.as_ref().is_some_and(has_text) {
        return Err(ApiError::NeedsTokenizer { param: DECODER_PROMPT, instead: "give token ids" });
    }
    Ok(read)
}

#[cfg(test)]
mod tests;
