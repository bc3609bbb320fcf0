//! The body of `POST /v1/chat/completions`, read and checked field by field.
//!
//! Called by `handler`. Pure: no template, no tokenizer, no engine, no clock.

use super::draft::Draft;
use super::fields::{
    ADD_GENERATION_PROMPT, CHOICES, DECODER_PROMPT, ECHO, LOG_PROBS, MAX_COMPLETION_TOKENS, MAX_TOKENS, MESSAGES,
    RETURN_TOKEN_IDS, TOP_LOG_PROBS,
};
use super::neutral::REQUEST;
use crate::api::controls::GivenControls;
use crate::api::fields::{
    ADD_SPECIAL_TOKENS_TO_CONVERSATION, BesideBeams, CONTINUE_FINAL_MESSAGE, DecoderPrompt, IGNORE_EOS, STREAM,
    TextOptions, Unfinished, beginnings, given_messages, given_stop, given_stream_options, read_beams, read_best_of,
    read_cache_salt, read_min_tokens, read_prompt_log_probs, read_sampling, read_seed, read_speculation, read_timeout,
    rows_field, saturated, take_unfinished, to_u32,
};
use crate::api::generation::{CallNames, CallSources, Excesses, GenerationCall, RequestBounds, validate};
use crate::api::http::{ApiError, TargetNames};
use crate::api::json::{Field, Fields};
use crate::chat_template::{ChatMessage, Conversation};

/// Reads a request's body.
///
/// # Errors
/// The [`ApiError`] of the first rule that it breaks; invalid JSON is reported first.
pub fn parse(body: &[u8], bounds: &RequestBounds) -> Result<GenerationCall, ApiError> {
    let Draft { fields, messages, decoder_prompt, stop, controls, structure, stream_options, variables } =
        Draft::read(body, bounds)?;
    let stream = fields.flag(&STREAM)?;
    let choices = fields.whole_up_to(&CHOICES, u64::from(bounds.choices))?.map_or(1, to_u32);
    let echo = fields.flag(&ECHO)?;
    let prompt_log_probs = read_prompt_log_probs(&fields, bounds.top_log_probs, stream)?;
    let max_tokens = read_max_tokens(&fields, echo || prompt_log_probs.is_some())?;
    let mut messages = given_messages(MESSAGES, messages, bounds.takes_text)?;
    let decoder_prompt = DecoderPrompt::given(decoder_prompt, bounds.takes_text)?;
    let decoder_excess = decoder_prompt.as_ref().and_then(|read| read.excess);
    let turn = read_turn(&fields, &mut messages, decoder_prompt.is_some())?;
    let names = call_names(&fields, &turn);
    let conversation = Conversation {
        param: MESSAGES,
        messages,
        add_generation_prompt: turn.add_generation_prompt,
        variables: variables.transpose()?.unwrap_or_default(),
    };
    let sampling = read_sampling(&fields, bounds.sampling)?;
    let beams = read_beams(&fields, BesideBeams { choices, most: bounds.choices, sampling, default: bounds.search })?;
    let best_of = if beams.is_some() { None } else { read_best_of(&fields, choices, bounds.choices)? };
    let call = GenerationCall {
        names,
        sources: CallSources::Conversation(conversation),
        beginnings: beginnings(turn.unfinished, decoder_prompt),
        suffix: None,
        cache_salt: read_cache_salt(&fields)?,
        timeout: read_timeout(&fields)?,
        add_special_tokens: fields.boolean(ADD_SPECIAL_TOKENS_TO_CONVERSATION.name)?,
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
        log_probs: read_log_probs(&fields, bounds)?,
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
    validate(&call, bounds, Excesses { source: None, beginning: decoder_excess })?;
    Ok(call)
}

/// `max_completion_tokens`, or `max_tokens` as it was called before.
fn read_max_tokens(fields: &Fields, scores: bool) -> Result<Option<u32>, ApiError> {
    let lowest = i64::from(!scores);
    let [newer, older] = [MAX_COMPLETION_TOKENS, MAX_TOKENS].map(|field| fields.integer(field.name, lowest, u64::MAX));
    match (newer?, older?) {
        (Some(newer), Some(older)) if newer != older => {
            let problem = "differs from 'max_completion_tokens': give one of them";
            Err(ApiError::Invalid { param: "max_tokens".to_owned(), problem })
        }
        (newer, older) => Ok(newer.or(older).map(saturated)),
    }
}

/// The turn that the answer is.
pub struct Turn {
    /// The answer that is to be continued.
    pub unfinished: Option<Unfinished>,
    /// Whether the source ends with the beginning of the assistant's turn.
    pub add_generation_prompt: bool,
}

/// Reads the turn that the answer is, and takes an answer that is to be continued from the end of the messages.
///
/// # Errors
/// The [`ApiError`] of fields that contradict each other or the messages.
pub fn read_turn(fields: &Fields, messages: &mut Vec<ChatMessage>, has_decoder_prompt: bool) -> Result<Turn, ApiError> {
    let add_generation_prompt = fields.boolean(ADD_GENERATION_PROMPT.name)?;
    if add_generation_prompt == Some(true) && fields.flag(&CONTINUE_FINAL_MESSAGE)? {
        let problem = "and 'add_generation_prompt' exclude each other";
        return Err(ApiError::Invalid { param: CONTINUE_FINAL_MESSAGE.name.to_owned(), problem });
    }
    let unfinished = take_unfinished(fields, messages, has_decoder_prompt)?;
    // The source ends where an answer that is continued begins.
    let add_generation_prompt = unfinished.is_some() || add_generation_prompt.unwrap_or(true);
    Ok(Turn { unfinished, add_generation_prompt })
}

/// Names of the fields that the client wrote.
fn call_names(fields: &Fields, turn: &Turn) -> CallNames {
    let beginning = match &turn.unfinished {
        Some(Unfinished { index, .. }) => format!("{MESSAGES}[{index}]").into(),
        None => DECODER_PROMPT.into(),
    };
    let given = |field: &Field| fields.get(field.name).is_some();
    let is_older = given(&MAX_TOKENS) && !given(&MAX_COMPLETION_TOKENS);
    let max_tokens = if is_older { MAX_TOKENS.name } else { MAX_COMPLETION_TOKENS.name };
    let gives_max_tokens = is_older || given(&MAX_COMPLETION_TOKENS);
    let log_probs = if given(&TOP_LOG_PROBS) { TOP_LOG_PROBS.name } else { LOG_PROBS.name };
    let target = TargetNames { beginning, max_tokens, gives_max_tokens };
    CallNames { target, are_listed: false, log_probs, rows: rows_field(fields) }
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
