//! The body of `POST /v1/responses`, read and checked field by field.
//!
//! Called by `handler`. Pure: no template, no tokenizer, no engine, no clock.

use super::draft::Draft;
use super::fields::{DECODER_PROMPT, INPUT, INSTRUCTIONS, MAX_OUTPUT_TOKENS, TOP_LOG_PROBS};
use super::include::Included;
use super::neutral::{REASONING, REQUEST, STREAM_OPTIONS};
use super::settings::{GivenSettings, read_settings};
use super::text::GivenText;
use crate::api::answers::{ResponseSettings, StreamOptions};
use crate::api::controls::GivenControls;
use crate::api::fields::{
    ADD_SPECIAL_TOKENS_TO_CONVERSATION, BesideBeams, DecoderPrompt, IGNORE_EOS, STREAM, TextOptions, Unfinished,
    beginnings, given_messages, given_stop, read_beams_of_response, read_cache_salt, read_min_tokens, read_sampling,
    read_seed, read_speculation, read_timeout, saturated, take_unfinished, to_u32,
};
use crate::api::generation::{CallNames, CallSources, Excesses, GenerationCall, RequestBounds, validate};
use crate::api::http::{ApiError, TargetNames};
use crate::api::json::Fields;
use crate::chat_template::{ChatMessage, Conversation};

/// A request for a response.
#[derive(Debug)]
pub struct ResponseCall {
    /// Everything that is asked of the engine.
    pub call: GenerationCall,
    /// Settings that the response repeats.
    pub settings: ResponseSettings,
}

/// Reads a request's body.
///
/// # Errors
/// The [`ApiError`] of the first rule that it breaks; invalid JSON is reported first.
pub fn parse(body: &[u8], bounds: &RequestBounds) -> Result<ResponseCall, ApiError> {
    let draft = Draft::read(body, bounds)?;
    let (stream, fields) = (draft.fields.flag(&STREAM)?, draft.fields);
    if draft.stream_options.is_some() && !stream {
        let (param, problem) = (STREAM_OPTIONS.name.to_owned(), "is only allowed when 'stream' is true");
        return Err(ApiError::Invalid { param, problem });
    }
    let log_probs = read_log_probs(&fields, draft.include.transpose()?.unwrap_or_default(), bounds)?;
    let mut messages = given_messages(INPUT, draft.input, bounds.takes_text)?;
    let decoder_prompt = DecoderPrompt::given(draft.decoder_prompt, bounds.takes_text)?;
    let excesses = Excesses { source: None, beginning: decoder_prompt.as_ref().and_then(|read| read.excess) };
    let unfinished = take_unfinished(&fields, &mut messages, decoder_prompt.is_some())?;
    let sampling = read_sampling(&fields, bounds.sampling)?;
    let beside = BesideBeams { choices: 1, most: bounds.choices, sampling, default: bounds.search };
    let beams = read_beams_of_response(&fields, beside)?;
    let text = GivenText::read(draft.text, bounds.structure)?;
    let settings = read_settings(
        &fields,
        GivenSettings {
            instructions: draft.instructions,
            metadata: draft.metadata,
            effort: REASONING.text(draft.reasoning.as_ref(), "effort"),
            log_probs,
            sampling,
            format: text.format,
        },
    )?;
    let names = call_names(&fields, unfinished.as_ref());
    let conversation = Conversation {
        param: longest_text(&settings, &messages),
        messages: with_instructions(settings.instructions.clone(), messages),
        add_generation_prompt: true,
        variables: draft.variables.transpose()?.unwrap_or_default(),
    };
    let call = GenerationCall {
        names,
        sources: CallSources::Conversation(conversation),
        beginnings: beginnings(unfinished, decoder_prompt),
        suffix: None,
        cache_salt: read_cache_salt(&fields)?,
        timeout: read_timeout(&fields)?,
        add_special_tokens: fields.boolean(ADD_SPECIAL_TOKENS_TO_CONVERSATION.name)?,
        max_tokens: fields.whole(&MAX_OUTPUT_TOKENS)?.map(saturated),
        min_tokens: read_min_tokens(&fields)?,
        ignore_eos: fields.flag(&IGNORE_EOS)?,
        choices: 1,
        best_of: None,
        beams,
        sampling,
        seed: read_seed(&fields)?,
        stop: given_stop(draft.stop, bounds.takes_text)?,
        controls: GivenControls::read(&fields, draft.controls, bounds.takes_text)?,
        structure: draft.structure.with(text.structure).given(bounds.structure, bounds.takes_text)?,
        speculation: read_speculation(&fields)?,
        text_options: TextOptions::read(&fields)?,
        log_probs,
        prompt_log_probs: None,
        echo: false,
        stream,
        // A stream ends with its usage, and an event without text says nothing.
        stream_options: StreamOptions { coalesce: true, ..StreamOptions::default() },
        return_token_ids: false,
    };
    let objects = [(&REASONING, draft.reasoning), (&STREAM_OPTIONS, draft.stream_options)];
    objects.into_iter().try_for_each(|(object, read)| object.check(read))?;
    REQUEST.into_iter().try_for_each(|table| table.check(&fields))?;
    fields.finish()?;
    validate(&call, bounds, excesses)?;
    Ok(ResponseCall { call, settings })
}

fn with_instructions(instructions: Option<String>, messages: Vec<ChatMessage>) -> Vec<ChatMessage> {
    let first = instructions.map(|content| ChatMessage { role: "system".to_owned(), content, name: None });
    first.into_iter().chain(messages).collect()
}

/// The field whose texts are the longest: it is at fault where the source is too long.
fn longest_text(settings: &ResponseSettings, messages: &[ChatMessage]) -> &'static str {
    let instructions = settings.instructions.as_ref().map_or(0, String::len);
    if instructions > messages.iter().map(|message| message.content.len()).sum() { INSTRUCTIONS } else { INPUT }
}

/// Names of the fields that the client wrote.
fn call_names(fields: &Fields, unfinished: Option<&Unfinished>) -> CallNames {
    let beginning = match unfinished {
        Some(Unfinished { index, .. }) => format!("{INPUT}[{index}]").into(),
        None => DECODER_PROMPT.into(),
    };
    let gives_max_tokens = fields.get(MAX_OUTPUT_TOKENS.name).is_some();
    let target = TargetNames { beginning, max_tokens: MAX_OUTPUT_TOKENS.name, gives_max_tokens };
    CallNames { target, are_listed: false, log_probs: TOP_LOG_PROBS.name, rows: None }
}

/// The number of alternatives, of log-probabilities that are wanted.
fn read_log_probs(fields: &Fields, included: Included, bounds: &RequestBounds) -> Result<Option<u32>, ApiError> {
    let top = fields.whole_up_to(&TOP_LOG_PROBS, u64::from(bounds.top_log_probs))?.map_or(0, to_u32);
    if top > 0 && !included.log_probs {
        let problem = "needs 'include': [\"message.output_text.logprobs\"]";
        return Err(ApiError::Invalid { param: TOP_LOG_PROBS.name.to_owned(), problem });
    }
    Ok(included.log_probs.then_some(top))
}

#[cfg(test)]
mod tests;
