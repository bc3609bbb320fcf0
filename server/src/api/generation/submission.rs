//! Hands the prompts of a request over to the engine, each with its places in the queue.

use std::sync::Arc;

use super::call::GenerationCall;
use super::tokenise::{Beginning, TokenisedCall};
use crate::api::answers::{ChoiceSettings, Opening, StopStrings, StopText, Submitted, stop_check};
use crate::api::http::{ApiError, random_u64};
use crate::engine::{Generation, Slots};
use crate::registry::ServedModel;
use crate::request::{Controls, GenerationRequest, Refusal};

/// Submits one engine request for each prompt and each beginning of targets.
///
/// # Errors
/// When the engine has ended.
pub fn submit(
    model: &Arc<ServedModel>,
    slots: Slots,
    asked: &GenerationCall,
    tokens: TokenisedCall,
) -> Result<Submitted, ApiError> {
    let TokenisedCall { sources, beginnings, controls, constraint, .. } = tokens;
    let sources: Vec<Arc<[u32]>> = sources.into_iter().map(|source| Arc::from(source.ids)).collect();
    let stop_text = if asked.text_options.include_stop { StopText::Kept } else { StopText::Cut };
    let stop = Arc::new(StopStrings::new(&asked.stop, stop_text));
    let silent_tokens = silent_tokens(model, asked, &controls);
    let settings = |opening: &Opening| {
        Arc::new(ChoiceSettings {
            stop: Arc::clone(&stop),
            silent_tokens: silent_tokens.clone(),
            min_tokens: asked.known_min_tokens(),
            return_token_ids: asked.return_token_ids,
            return_log_probs: asked.log_probs.is_some(),
            echoed_log_probs: asked.echoed_log_probs(),
            prompt_log_probs: asked.prompt_log_probs,
            coalesce: asked.stream_options.coalesce,
            opening: opening.clone(),
        })
    };
    let settings: Vec<_> = beginnings.iter().map(|beginning| settings(&beginning.opening)).collect();
    let request = |source: &Arc<[u32]>, beginning: &Beginning, settings: &Arc<ChoiceSettings>| {
        let mut sampling = asked.sampling;
        // Without a seed equal prompts of one list are to differ, so each gets its own.
        sampling.seed = asked.seed.unwrap_or_else(random_u64);
        GenerationRequest {
            decoder_prompt: beginning.ids.clone(),
            choices: asked.generated(),
            beams: asked.beams,
            min_tokens: asked.known_min_tokens(),
            ignore_end: asked.ignore_eos,
            sampling,
            controls: Arc::clone(&controls),
            stop: asked.beams.and_then(|_| stop_check(settings)),
            constraint: constraint.clone(),
            exact_steps: model.limits().exact_steps,
            // A draft from the source has ids that the decoder must know.
            speculation: asked.speculation && model.source_vocab <= model.target_vocab,
            // The best are found by their log-probabilities.
            log_probs: asked.log_probs.or(asked.best_of.map(|_| 0)),
            prompt_scores: asked.prompt_scores(),
            ..GenerationRequest::new(Arc::clone(source), asked.known_max_tokens())
        }
    };
    let targets = || beginnings.iter().zip(&settings);
    let requests = sources.iter().flat_map(|source| targets().map(move |(begun, settings)| (source, begun, settings)));
    let generations = slots
        .divide(sources.len() * beginnings.len(), asked.rows_of_prompt())
        .zip(requests)
        .map(|(slot, (source, beginning, settings))| model.engine.submit(slot, request(source, beginning, settings)))
        .collect::<Result<Vec<Generation>, Refusal>>()?;
    let (choices_per_prompt, kept_per_prompt) = (asked.generated() as usize, asked.choices as usize);
    Ok(Submitted { generations, sources, choices_per_prompt, kept_per_prompt, settings })
}

/// Tokens that end a text and have no part in it.
fn silent_tokens(model: &ServedModel, asked: &GenerationCall, controls: &Controls) -> Vec<u32> {
    if asked.text_options.include_stop {
        return Vec::new();
    }
    let ends = if asked.ignore_eos { &[][..] } else { &model.end_tokens };
    [ends, &controls.stop_tokens].concat()
}
