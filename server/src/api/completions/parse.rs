//! The body of `POST /v1/completions`, read and checked field by field.
//!
//! Called by `admission`. Pure: no tokenizer, no engine, no clock.

use super::bounds::RequestBounds;
use super::draft::Draft;
use super::neutral::{check_unsupported, check_unsupported_stream_options};
use super::numbers::{saturated, seed_bits, to_u32};
use super::prompt::{DecoderPrompt, Prompt, Prompts};
use super::request::CompletionRequest;
use super::sampling_fields::read_sampling;
use super::validation::{Excesses, validate};
use crate::api::answers::StreamOptions;
use crate::api::http::ApiError;
use crate::api::json::Fields;

/// Reads a request's body.
///
/// # Errors
/// The [`ApiError`] of the first rule that it breaks; invalid JSON is reported first.
pub fn parse(body: &[u8], bounds: &RequestBounds) -> Result<CompletionRequest, ApiError> {
    let Draft { fields, prompts, decoder_prompt, stop, stream_options } = Draft::read(body, bounds)?;
    let stream = fields.boolean("stream")?.unwrap_or(false);
    let choices = fields.integer("n", 1, u64::from(bounds.choices))?.map_or(1, to_u32);
    let echo = fields.boolean("echo")?.unwrap_or(false);
    let lowest = i64::from(!echo);
    let max_tokens = fields.integer("max_tokens", lowest, u64::MAX)?.map_or(16, saturated);
    let model = fields.text("model")?;
    let Prompts { list: prompts, names: prompt_names, excess } = given_prompts(prompts, bounds)?;
    let (decoder_prompt, decoder_excess) = given_decoder_prompt(decoder_prompt, bounds)?;
    let request = CompletionRequest {
        model,
        prompts,
        prompt_names,
        decoder_prompt,
        cache_salt: read_cache_salt(&fields)?,
        add_special_tokens: fields.boolean("add_special_tokens")?.unwrap_or(true),
        max_tokens,
        min_tokens: fields.integer("min_tokens", 0, u64::MAX)?.map_or(0, saturated),
        ignore_eos: fields.boolean("ignore_eos")?.unwrap_or(false),
        choices,
        sampling: read_sampling(&fields)?,
        seed: fields.integer("seed", i64::MIN, u64::MAX)?.map(seed_bits),
        stop: given_stop(stop, bounds)?,
        log_probs: fields.integer("logprobs", 0, u64::from(bounds.top_log_probs))?.map(to_u32),
        echo,
        stream,
        stream_options: given_stream_options(stream_options, stream)?,
        return_token_ids: fields.boolean("return_token_ids")?.unwrap_or(false),
    };
    check_unsupported(&fields, choices)?;
    fields.finish()?;
    validate(&request, bounds, Excesses { source: excess, decoder_prompt: decoder_excess })?;
    Ok(request)
}

fn given_prompts(read: Option<Result<Prompts, ApiError>>, bounds: &RequestBounds) -> Result<Prompts, ApiError> {
    let read = read.ok_or(ApiError::Missing { param: "prompt" })??;
    if !bounds.takes_text && read.list.iter().any(|prompt| matches!(prompt, Prompt::Text(_))) {
        return Err(ApiError::NeedsTokenizer { param: "prompt", instead: "give token ids" });
    }
    Ok(read)
}

/// The prompt, and how many ids it has where those are too many.
fn given_decoder_prompt(
    read: Option<Result<DecoderPrompt, ApiError>>,
    bounds: &RequestBounds,
) -> Result<(Option<Prompt>, Option<usize>), ApiError> {
    let Some(read) = read else { return Ok((None, None)) };
    let DecoderPrompt { prompt, excess } = read?;
    if !bounds.takes_text && matches!(prompt, Prompt::Text(_)) {
        return Err(ApiError::NeedsTokenizer { param: "decoder_prompt", instead: "give token ids" });
    }
    Ok((Some(prompt), excess))
}

fn read_cache_salt(fields: &Fields) -> Result<Option<String>, ApiError> {
    match fields.text("cache_salt")? {
        Some(salt) if salt.is_empty() => {
            let problem = "must not be empty; leave it out to share sources";
            Err(ApiError::Invalid { param: "cache_salt".to_owned(), problem })
        }
        salt => Ok(salt),
    }
}

fn given_stop(read: Option<Result<Vec<String>, ApiError>>, bounds: &RequestBounds) -> Result<Vec<String>, ApiError> {
    let strings = read.unwrap_or(Ok(Vec::new()))?;
    if strings.iter().any(String::is_empty) {
        return Err(ApiError::Invalid { param: "stop".to_owned(), problem: "must not hold an empty string" });
    }
    if !strings.is_empty() && !bounds.takes_text {
        return Err(ApiError::NeedsTokenizer { param: "stop", instead: "leave it out" });
    }
    Ok(strings)
}

fn given_stream_options(read: Option<Result<Fields, ApiError>>, stream: bool) -> Result<StreamOptions, ApiError> {
    let Some(read) = read else { return Ok(StreamOptions::default()) };
    let options = read?;
    if !stream {
        let problem = "is only allowed when 'stream' is true";
        return Err(ApiError::Invalid { param: "stream_options".to_owned(), problem });
    }
    let read = StreamOptions {
        include_usage: options.boolean("include_usage")?.unwrap_or(false),
        continuous_usage_stats: options.boolean("continuous_usage_stats")?.unwrap_or(false),
        coalesce: options.boolean("coalesce")?.unwrap_or(false),
    };
    check_unsupported_stream_options(&options)?;
    options.finish()?;
    Ok(read)
}

#[cfg(test)]
mod tests;
