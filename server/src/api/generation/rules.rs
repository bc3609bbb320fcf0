//! Rules of a request that concern several fields at once, checked once all fields are read.
//!
//! Called by the rooms of generating endpoints.

use super::bounds::RequestBounds;
use super::call::{CallSources, GenerationCall};
use super::lengths::check_min_tokens;
use crate::api::controls::{STOP_TOKEN_IDS, STOP_TOKENS_OF_SEARCH};
use crate::api::fields::Excess;
use crate::api::http::ApiError;
use crate::request::Refusal;

/// Lists of token ids of which only the beginning was kept.
#[derive(Debug, Clone, Copy, Default)]
pub struct Excesses {
    /// The first prompt that is too long.
    pub source: Option<Excess>,
    /// The first beginning of targets that is too long.
    pub beginning: Option<Excess>,
}

/// Checks a request whose fields are valid one by one.
///
/// # Errors
/// The [`ApiError`] of the first rule that is broken.
pub fn validate(request: &GenerationCall, bounds: &RequestBounds, excesses: Excesses) -> Result<(), ApiError> {
    check_min_tokens(request)?;
    check_infilled(request)?;
    check_pairs(request)?;
    check_total_choices(request, bounds)?;
    check_scored(request)?;
    check_searched(request)?;
    check_excess(request, bounds, excesses)
}

/// Clients that score texts with OpenAI's protocol put all of it into `prompt`. Here that is the source, which has no
/// log-probabilities: without this they would take those of a generated token for them.
fn check_scored(request: &GenerationCall) -> Result<(), ApiError> {
    if request.prompt_scores().is_none() || !request.beginnings.is_empty() {
        return Ok(());
    }
    if request.prompt_log_probs.is_some() {
        let problem = "is missing: 'prompt_logprobs' are those of the beginning of the target, and nothing of the \
                       source. Put the text to be scored into 'decoder_prompt', or leave out 'prompt_logprobs'";
        return Err(ApiError::Invalid { param: "decoder_prompt".to_owned(), problem });
    }
    let problem = match &request.sources {
        CallSources::Prompts(_) => {
            "is missing: 'echo' with 'logprobs' scores it, and nothing of 'prompt', which is the source. Put the text \
             to be scored into 'decoder_prompt' (see \"Score a target\" in docs/api.md), or leave out 'echo'"
        }
        CallSources::Conversation(_) => {
            "is missing: 'echo' with 'logprobs' scores it, and nothing of 'messages', which are the source. Put the \
             answer to be scored into 'decoder_prompt', or send it as the last message with \
             'continue_final_message', or leave out 'echo'"
        }
    };
    Err(ApiError::Invalid { param: "decoder_prompt".to_owned(), problem })
}

/// Refuses a search that ends with too many tokens: each of its steps looks at as many candidates for each of its
/// branches as `best_of` times one more than it has end tokens.
fn check_searched(request: &GenerationCall) -> Result<(), ApiError> {
    let count = request.controls.stop_tokens.len();
    if request.beams.is_none() || count <= STOP_TOKENS_OF_SEARCH {
        return Ok(());
    }
    let unit = "token ids beside 'use_beam_search'";
    Err(ApiError::TooMany { param: STOP_TOKEN_IDS, count, unit, limit: STOP_TOKENS_OF_SEARCH })
}

/// Refuses what has no meaning beside a suffix, whose target begins with a sentinel.
fn check_infilled(request: &GenerationCall) -> Result<(), ApiError> {
    if request.suffix.is_none() {
        return Ok(());
    }
    let given = [
        ("decoder_prompt", !request.beginnings.is_empty()),
        ("prompt_logprobs", request.prompt_log_probs.is_some()),
        ("echo", request.echo),
    ];
    let problem = "is not allowed beside 'suffix': the target is the span between 'prompt' and 'suffix'";
    match given.into_iter().find(|(_, is_given)| *is_given) {
        Some((name, _)) => Err(ApiError::Invalid { param: name.to_owned(), problem }),
        None => Ok(()),
    }
}

/// Refuses several sources beside several beginnings, which could be meant pair by pair or each with each.
fn check_pairs(request: &GenerationCall) -> Result<(), ApiError> {
    if request.targets_per_source() == 1 || request.sources.count() == 1 {
        return Ok(());
    }
    let problem = "is a list of several, which needs a single prompt. Give one for all prompts, or a request for each";
    Err(ApiError::Invalid { param: request.names.target.beginning.to_string(), problem })
}

fn check_total_choices(request: &GenerationCall, bounds: &RequestBounds) -> Result<(), ApiError> {
    let count = request.requests() as u64 * u64::from(request.rows_of_prompt());
    let limit = bounds.total_choices;
    if count <= limit as u64 {
        return Ok(());
    }
    let rows = request.names.rows.filter(|_| request.rows_of_prompt() > 1);
    let has_targets = request.targets_per_source() > 1;
    // Only completions have several, under this name.
    let many = if has_targets { "decoder_prompt" } else { request.sources.names().field() };
    let param = rows.unwrap_or(many);
    let unit = match (&request.sources, request.beams) {
        _ if has_targets => "choices or beams of all decoder prompts",
        (CallSources::Prompts(_), None) => "choices (prompts times n)",
        (CallSources::Prompts(_), Some(_)) => "beams (prompts times best_of, which is n and at least 2 by default)",
        (CallSources::Conversation(_), None) => "choices",
        (CallSources::Conversation(_), Some(_)) => "beams",
    };
    Err(ApiError::Total { param, count, unit, limit })
}

/// Refuses lists of ids that are too long, of which only the length is known in full.
fn check_excess(request: &GenerationCall, bounds: &RequestBounds, excesses: Excesses) -> Result<(), ApiError> {
    if let Some(Excess { index, tokens }) = excesses.source {
        let refusal = Refusal::SourceTooLong { tokens, limit: bounds.prompts.ids.most };
        return Err(request.refused(refusal, index, 0));
    }
    if let Some(Excess { index, tokens }) = excesses.beginning {
        let prompt = tokens - request.beginnings[index].start_tokens(bounds.start_token);
        let (max_tokens, limit) = (request.known_max_tokens() as usize, bounds.decoder_prompt.most - 1);
        return Err(request.refused(Refusal::TargetTooLong { prompt, max_tokens, limit }, 0, index));
    }
    Ok(())
}
