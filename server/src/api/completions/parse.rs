//! The body of `POST /v1/completions`, read and checked field by field.
//!
//! Called by `handler`. Pure: no tokenizer, no engine, no clock.

use super::draft::Draft;
use super::fields::{ADD_SPECIAL_TOKENS, CHOICES, DECODER_PROMPT, ECHO, LOG_PROBS, MAX_TOKENS, RETURN_TOKEN_IDS};
use super::neutral::REQUEST;
use crate::api::controls::GivenControls;
use crate::api::fields::{
    BesideBeams, DecoderPrompt, IGNORE_EOS, Prompt, Prompts, STREAM, TextOptions, given_stop, given_stream_options,
    read_beams, read_best_of, read_cache_salt, read_min_tokens, read_sampling, read_seed, rows_field, saturated,
    to_u32,
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
    let Draft { fields, prompts, decoder_prompt, stop, controls, stream_options } = Draft::read(body, bounds)?;
    let stream = fields.flag(&STREAM)?;
    let choices = fields.whole_up_to(&CHOICES, u64::from(bounds.choices))?.map_or(1, to_u32);
    let echo = fields.flag(&ECHO)?;
    let max_tokens = read_max_tokens(&fields, echo, bounds)?;
    let Prompts { list: prompts, names: prompt_names, excess } = given_prompts(prompts, bounds)?;
    let decoder_prompt = DecoderPrompt::given(decoder_prompt, bounds.takes_text)?;
    let decoder_excess = decoder_prompt.as_ref().and_then(|read| read.excess);
    let sampling = read_sampling(&fields, bounds.sampling)?;
    let beams = read_beams(&fields, BesideBeams { choices, most: bounds.choices, sampling, default: bounds.search })?;
    let best_of = if beams.is_some() { None } else { read_best_of(&fields, choices, bounds.choices)? };
    let call = GenerationCall {
        names: call_names(&fields),
        sources: CallSources::Prompts(Sources { prompts, names: prompt_names }),
        decoder_prompt: decoder_prompt.map(|read| read.prompt),
        cache_salt: read_cache_salt(&fields)?,
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
        text_options: TextOptions::read(&fields)?,
        log_probs: fields.whole_up_to(&LOG_PROBS, u64::from(bounds.top_log_probs))?.map(to_u32),
        echo,
        stream,
        stream_options: given_stream_options(stream_options, stream)?,
        return_token_ids: fields.flag(&RETURN_TOKEN_IDS)?,
    };
    for unsupported in REQUEST {
        unsupported.check(&fields)?;
    }
    fields.finish()?;
    validate(&call, bounds, Excesses { source: excess, decoder_prompt: decoder_excess })?;
    Ok(call)
}

/// OpenAI's default holds where the model has none.
fn read_max_tokens(fields: &Fields, echo: bool, bounds: &RequestBounds) -> Result<Option<u32>, ApiError> {
    if bounds.has_max_tokens && fields.get(MAX_TOKENS.name).is_none() {
        return Ok(None);
    }
    let number = fields.whole(&MAX_TOKENS)?.map_or(0, saturated);
    if number == 0 && !echo {
        let (value, range) = ("0".to_owned(), "at least 1".to_owned());
        return Err(ApiError::OutOfRange { param: MAX_TOKENS.name, value, range });
    }
    Ok(Some(number))
}

fn call_names(fields: &Fields) -> CallNames {
    let gives_max_tokens = fields.get(MAX_TOKENS.name).is_some();
    let target = TargetNames { beginning: DECODER_PROMPT.into(), max_tokens: MAX_TOKENS.name, gives_max_tokens };
    CallNames { target, log_probs: LOG_PROBS.name, rows: rows_field(fields) }
}

fn given_prompts(read: Option<Result<Prompts, ApiError>>, bounds: &RequestBounds) -> Result<Prompts, ApiError> {
    let read = read.ok_or(ApiError::Missing { param: "prompt" })??;
    if !bounds.takes_text && read.list.iter().any(|prompt| matches!(prompt, Prompt::Text(_))) {
        return Err(ApiError::NeedsTokenizer { param: "prompt", instead: "give token ids" });
    }
    Ok(read)
}

#[cfg(test)]
mod tests;
