//! Hands the prompts of a request over to the engine, each with its places in the queue.

use std::sync::Arc;

use super::call::GenerationCall;
use super::tokenise::TokenisedCall;
use crate::api::answers::{ChoiceSettings, StopStrings, StopText, Submitted, stop_check};
use crate::api::http::{ApiError, random_u64};
use crate::engine::{Generation, Slots};
use crate::registry::ServedModel;
use crate::request::{Controls, GenerationRequest, PromptScores, Refusal};

/// Submits one engine request for each prompt.
///
/// # Errors
/// When the engine has ended.
pub fn submit(
    model: &Arc<ServedModel>,
    slots: Slots,
    asked: &GenerationCall,
    tokens: TokenisedCall,
) -> Result<Submitted, ApiError> {
    let TokenisedCall { sources, decoder_prompt, opening, controls } = tokens;
    let sources: Vec<Arc<[u32]>> = sources.into_iter().map(|source| Arc::from(source.ids)).collect();
    let stop_text = if asked.text_options.include_stop { StopText::Kept } else { StopText::Cut };
    let settings = Arc::new(ChoiceSettings {
        stop: Arc::new(StopStrings::new(&asked.stop, stop_text)),
        silent_tokens: silent_tokens(model, asked, &controls),
        min_tokens: asked.known_min_tokens(),
        return_token_ids: asked.return_token_ids,
        return_log_probs: asked.log_probs.is_some(),
        coalesce: asked.stream_options.coalesce,
        opening,
    });
    let stop = asked.beams.and_then(|_| stop_check(&settings));
    let request = |source: &Arc<[u32]>| {
        let mut sampling = asked.sampling;
        // Without a seed equal prompts of one list are to differ, so each gets its own.
        sampling.seed = asked.seed.unwrap_or_else(random_u64);
        GenerationRequest {
            decoder_prompt: decoder_prompt.clone(),
            choices: asked.generated(),
            beams: asked.beams,
            min_tokens: asked.known_min_tokens(),
            ignore_end: asked.ignore_eos,
            sampling,
            controls: Arc::clone(&controls),
            stop: stop.clone(),
            exact_steps: model.limits().exact_steps,
            // The best are found by their log-probabilities.
            log_probs: asked.log_probs.or(asked.best_of.map(|_| 0)),
            prompt_scores: asked.log_probs.filter(|_| asked.echo).map(PromptScores::all),
            ..GenerationRequest::new(Arc::clone(source), asked.known_max_tokens())
        }
    };
    let generations = slots
        .divide(sources.len(), asked.rows_of_prompt())
        .zip(&sources)
        .map(|(slot, source)| model.engine.submit(slot, request(source)))
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
