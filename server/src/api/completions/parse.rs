//! The body of `POST /v1/completions`, read and checked field by field.
//!
//! Called by `handler`. Pure: no tokenizer, no engine, no clock.

use super::draft::Draft;
use super::neutral::REQUEST;
use super::validation::{Excesses, validate};
use crate::api::fields::{
    DecoderPrompt, Prompt, Prompts, given_stop, given_stream_options, read_cache_salt, read_sampling, saturated,
    seed_bits, to_u32,
};
use crate::api::generation::{GenerationCall, RequestBounds, Sources};
use crate::api::http::ApiError;

/// Reads a request's body.
///
/// # Errors
/// The [`ApiError`] of the first rule that it breaks; invalid JSON is reported first.
pub fn parse(body: &[u8], bounds: &RequestBounds) -> Result<GenerationCall, ApiError> {
    let Draft { fields, prompts, decoder_prompt, stop, stream_options } = Draft::read(body, bounds)?;
    let stream = fields.boolean("stream")?.unwrap_or(false);
    let choices = fields.integer("n", 1, u64::from(bounds.choices))?.map_or(1, to_u32);
    let echo = fields.boolean("echo")?.unwrap_or(false);
    let lowest = i64::from(!echo);
    let max_tokens = fields.integer("max_tokens", lowest, u64::MAX)?.map_or(16, saturated);
    let model = fields.text("model")?;
    let Prompts { list: prompts, names: prompt_names, excess } = given_prompts(prompts, bounds)?;
    let decoder_prompt = DecoderPrompt::given(decoder_prompt, bounds.takes_text)?;
    let decoder_excess = decoder_prompt.as_ref().and_then(|read| read.excess);
    let call = GenerationCall {
        model,
        sources: Sources { prompts, names: prompt_names },
        decoder_prompt: decoder_prompt.map(|read| read.prompt),
        cache_salt: read_cache_salt(&fields)?,
        add_special_tokens: fields.boolean("add_special_tokens")?.unwrap_or(true),
        max_tokens,
        min_tokens: fields.integer("min_tokens", 0, u64::MAX)?.map_or(0, saturated),
        ignore_eos: fields.boolean("ignore_eos")?.unwrap_or(false),
        choices,
        sampling: read_sampling(&fields)?,
        seed: fields.integer("seed", i64::MIN, u64::MAX)?.map(seed_bits),
        stop: given_stop(stop, bounds.takes_text)?,
        log_probs: fields.integer("logprobs", 0, u64::from(bounds.top_log_probs))?.map(to_u32),
        echo,
        stream,
        stream_options: given_stream_options(stream_options, stream)?,
        return_token_ids: fields.boolean("return_token_ids")?.unwrap_or(false),
    };
    REQUEST.check(&fields, choices)?;
    fields.finish()?;
    validate(&call, bounds, Excesses { source: excess, decoder_prompt: decoder_excess })?;
    Ok(call)
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
