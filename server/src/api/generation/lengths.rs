//! Whether a request's prompts, targets and log-probabilities fit: once before tokenising, with the lengths that are
//! known then, and once after it.

use super::call::GenerationCall;
use super::tokenise::TokenisedCall;
use crate::api::Api;
use crate::api::fields::Prompt;
use crate::api::http::ApiError;
use crate::registry::ServedModel;
use crate::request::RequestLengths;

/// Numbers of tokens of a request, as far as they are known.
pub struct Lengths<'a, I> {
    /// Number for each prompt.
    pub sources: I,
    /// Number for each beginning of targets, at least one.
    pub beginnings: &'a [usize],
    /// The request.
    pub asked: &'a GenerationCall,
}

/// Refuses a request that is too long whatever its texts become, before it takes a place in the queue. A text has one
/// token at least.
pub fn check_known_lengths(api: &Api, model: &ServedModel, asked: &GenerationCall) -> Result<(), ApiError> {
    let length = |prompt: &Prompt| match prompt {
        Prompt::Ids(ids) => ids.len() - prompt.start_tokens(model.start_token),
        Prompt::Text(_) => 0,
    };
    let mut beginnings: Vec<usize> = asked.beginnings.iter().map(length).collect();
    beginnings.resize(asked.targets_per_source(), 0);
    let sources = asked.sources.known_lengths().into_iter();
    check_lengths(model, Lengths { sources, beginnings: &beginnings, asked })?;
    check_total_log_probs(api, asked, LogProbs { prompts: asked.sources.count(), beginnings: &beginnings })
}

/// Checks each prompt with its targets against the model's limits.
pub fn check_lengths(model: &ServedModel, lengths: Lengths<'_, impl Iterator<Item = usize>>) -> Result<(), ApiError> {
    let Lengths { sources, beginnings, asked } = lengths;
    let max_tokens = asked.known_max_tokens() as usize;
    for (index, source) in sources.enumerate() {
        for (beginning, &decoder_prompt) in beginnings.iter().enumerate() {
            model
                .limits()
                .check(RequestLengths { branches: asked.branches(), source, decoder_prompt, max_tokens })
                .map_err(|refusal| asked.refused(refusal, index, beginning))?;
        }
    }
    Ok(())
}

/// Decides how many tokens are generated at most and at least where a call leaves it open: as the model's defaults say,
/// at most as many as its longest source and its longest beginning of a target leave.
///
/// # Errors
/// When fewer than the call's own `min_tokens` fit.
pub fn settle_lengths(model: &ServedModel, tokens: &TokenisedCall, asked: &mut GenerationCall) -> Result<(), ApiError> {
    let (defaults, decoder_prompt) = (&model.defaults, tokens.longest_beginning());
    if asked.max_tokens.is_none() {
        let source = tokens.source_lengths().max().unwrap_or_default();
        // What does not fit at all is refused with the lengths.
        let known = RequestLengths { branches: asked.branches(), source, decoder_prompt, max_tokens: 0 };
        let fitting = u32::try_from(model.limits().most_tokens(known)).unwrap_or(u32::MAX);
        let wanted = defaults.most_tokens.map_or(u32::MAX, |limit| limit.generated(decoder_prompt));
        asked.max_tokens = Some(fitting.min(wanted).max(1));
        check_min_tokens(asked)?;
    }
    if asked.min_tokens.is_none() {
        let wanted = defaults.least_tokens.map_or(0, |limit| limit.generated(decoder_prompt));
        asked.min_tokens = Some(wanted.min(asked.known_max_tokens()));
    }
    Ok(())
}

/// Checks that `min_tokens` can be reached.
///
/// # Errors
/// When it is more than `max_tokens`.
pub fn check_min_tokens(asked: &GenerationCall) -> Result<(), ApiError> {
    match (asked.max_tokens, asked.min_tokens) {
        (Some(most), Some(least)) if least > most => Err(ApiError::OutOfRange {
            param: "min_tokens",
            value: least.to_string(),
            range: format!("at most {}", asked.names.target.limit(most)),
        }),
        _ => Ok(()),
    }
}

/// Numbers that decide how many log-probabilities an answer has, beside its call.
pub struct LogProbs<'a> {
    /// Number of prompts.
    pub prompts: usize,
    /// Tokens of each beginning of targets.
    pub beginnings: &'a [usize],
}

/// Checks the number of log-probabilities that the answer may hold.
///
/// # Errors
/// When there are more than a request may ask for.
pub fn check_total_log_probs(api: &Api, asked: &GenerationCall, of: LogProbs<'_>) -> Result<(), ApiError> {
    let of_prompt = of.beginnings.iter().map(|&length| asked.log_probs_per_prompt(length)).fold(0, u64::saturating_add);
    let count = of_prompt.saturating_mul(of.prompts as u64);
    let limit = api.limits.total_log_probs;
    if count <= limit as u64 {
        return Ok(());
    }
    let unit = match asked.beams {
        None => "log-probabilities (choices times tokens times alternatives + 1)",
        Some(_) => "log-probabilities (choices and twice the beams, times tokens times alternatives + 1)",
    };
    Err(ApiError::Total { param: asked.names.log_probs, count, unit, limit })
}
