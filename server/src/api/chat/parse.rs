//! The body of `POST /v1/chat/completions`, read and checked field by field.
//!
//! Called by `handler`. Pure: no template, no tokenizer, no engine, no clock.

use super::draft::Draft;
use super::fields::{
    ADD_GENERATION_PROMPT, ADD_SPECIAL_TOKENS, CHOICES, CONTINUE_FINAL_MESSAGE, ECHO, LOG_PROBS, MAX_COMPLETION_TOKENS,
    MAX_TOKENS, MESSAGES, RETURN_TOKEN_IDS, TOP_LOG_PROBS,
};
use super::neutral::REQUEST;
use crate::api::fields::{
    DecoderPrompt, IGNORE_EOS, MIN_TOKENS, Prompt, STREAM, given_stop, given_stream_options, read_cache_salt,
    read_sampling, read_seed, saturated, to_u32,
};
use crate::api::generation::{CallSources, Excesses, GenerationCall, RequestBounds, validate};
use crate::api::http::ApiError;
use crate::api::json::Fields;
use crate::chat_template::{ChatMessage, Conversation};

/// Reads a request's body.
///
/// # Errors
/// The [`ApiError`] of the first rule that it breaks; invalid JSON is reported first.
pub fn parse(body: &[u8], bounds: &RequestBounds) -> Result<GenerationCall, ApiError> {
    let Draft { fields, messages, decoder_prompt, stop, stream_options, variables } = Draft::read(body, bounds)?;
    let stream = fields.flag(&STREAM)?;
    let choices = fields.whole_up_to(&CHOICES, u64::from(bounds.choices))?.map_or(1, to_u32);
    let echo = fields.flag(&ECHO)?;
    let max_tokens = read_max_tokens(&fields, echo)?;
    let mut messages = given_messages(messages, bounds)?;
    let decoder_prompt = DecoderPrompt::given(decoder_prompt, bounds.takes_text)?;
    let decoder_excess = decoder_prompt.as_ref().and_then(|read| read.excess);
    let (beginning, add_generation_prompt) = read_turn(&fields, &mut messages, decoder_prompt.is_some())?;
    let conversation = Conversation {
        param: MESSAGES,
        messages,
        add_generation_prompt,
        variables: variables.transpose()?.unwrap_or_default(),
    };
    let call = GenerationCall {
        sources: CallSources::Conversation(conversation),
        decoder_prompt: beginning.or(decoder_prompt.map(|read| read.prompt)),
        cache_salt: read_cache_salt(&fields)?,
        add_special_tokens: fields.boolean(ADD_SPECIAL_TOKENS.name)?,
        max_tokens,
        min_tokens: fields.whole(&MIN_TOKENS)?.map_or(0, saturated),
        ignore_eos: fields.flag(&IGNORE_EOS)?,
        choices,
        sampling: read_sampling(&fields)?,
        seed: read_seed(&fields)?,
        stop: given_stop(stop, bounds.takes_text)?,
        log_probs: read_log_probs(&fields, bounds)?,
        echo,
        stream,
        stream_options: given_stream_options(stream_options, stream)?,
        return_token_ids: fields.flag(&RETURN_TOKEN_IDS)?,
    };
    REQUEST.check(&fields, choices)?;
    fields.finish()?;
    validate(&call, bounds, Excesses { source: None, decoder_prompt: decoder_excess })?;
    Ok(call)
}

fn given_messages(
    read: Option<Result<Vec<ChatMessage>, ApiError>>,
    bounds: &RequestBounds,
) -> Result<Vec<ChatMessage>, ApiError> {
    let messages = read.ok_or(ApiError::Missing { param: MESSAGES })??;
    if !bounds.takes_text {
        let instead = "give token ids to /v1/completions";
        return Err(ApiError::NeedsTokenizer { param: MESSAGES, instead });
    }
    Ok(messages)
}

/// `max_completion_tokens`, or `max_tokens` as it was called before.
fn read_max_tokens(fields: &Fields, echo: bool) -> Result<Option<u32>, ApiError> {
    let lowest = i64::from(!echo);
    let [newer, older] = [MAX_COMPLETION_TOKENS, MAX_TOKENS].map(|field| fields.integer(field.name, lowest, u64::MAX));
    match (newer?, older?) {
        (Some(newer), Some(older)) if newer != older => {
            let problem = "differs from 'max_completion_tokens': give one of them";
            Err(ApiError::Invalid { param: "max_tokens".to_owned(), problem })
        }
        (newer, older) => Ok(newer.or(older).map(saturated)),
    }
}

/// Takes an answer that is to be continued from the end of the messages: it begins the target. Also gives whether the
/// source ends with the beginning of the assistant's turn.
fn read_turn(
    fields: &Fields,
    messages: &mut Vec<ChatMessage>,
    has_decoder_prompt: bool,
) -> Result<(Option<Prompt>, bool), ApiError> {
    let add_generation_prompt = fields.boolean(ADD_GENERATION_PROMPT.name)?;
    if !fields.flag(&CONTINUE_FINAL_MESSAGE)? {
        return Ok((None, add_generation_prompt.unwrap_or(true)));
    }
    let is_unfinished = messages.len() > 1 && messages.last().is_some_and(|message| message.role == "assistant");
    let problem = match () {
        () if add_generation_prompt == Some(true) => "and 'add_generation_prompt' exclude each other",
        () if has_decoder_prompt => "and 'decoder_prompt' exclude each other: both begin the target",
        () if !is_unfinished => "needs a last message of the assistant, after others",
        () => {
            let unfinished = messages.pop().map(|message| Prompt::Text(message.content));
            return Ok((unfinished, true));
        }
    };
    Err(ApiError::Invalid { param: CONTINUE_FINAL_MESSAGE.name.to_owned(), problem })
}

/// The number of alternatives, of log-probabilities that are wanted.
fn read_log_probs(fields: &Fields, bounds: &RequestBounds) -> Result<Option<u32>, ApiError> {
    let top = fields.whole_up_to(&TOP_LOG_PROBS, u64::from(bounds.top_log_probs))?.map(to_u32);
    match (fields.flag(&LOG_PROBS)?, top) {
        (true, top) => Ok(Some(top.unwrap_or(0))),
        (false, None | Some(0)) => Ok(None),
        (false, Some(_)) => {
            let problem = "needs 'logprobs': true";
            Err(ApiError::Invalid { param: "top_logprobs".to_owned(), problem })
        }
    }
}

#[cfg(test)]
mod tests;
