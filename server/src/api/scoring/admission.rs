//! From the first byte of a body to requests in the engine: the order of `generation`, with a target for each pair.

use std::sync::Arc;

use axum::extract::Request;

use super::call::{Method, ScoringCall};
use super::distinct::DistinctTexts;
use super::order::{OrderedPair, in_order};
use super::parse::ReadBody;
use super::tokenise::{Tokens, check_texts, tokenise};
use crate::api::Api;
use crate::api::answers::{AnswerSize, Repeats};
use crate::api::generation::RequestBounds;
use crate::api::http::{ApiError, RequestAccount, Share, TargetNames};
use crate::api::reading::{ReadRequest, Unread, read_request};
use crate::api::results::Results;
use crate::api::texts::on_tokenizing_threads;
use crate::api::turn::{Deadline, Entry, Turn, enter};
use crate::engine::{Generation, Slots};
use crate::overload::CallKind;
use crate::registry::ServedModel;
use crate::request::{EncodeRequest, GenerationRequest, PromptScores, Readout, Refusal, RequestLengths};

/// A call that is in the engine.
pub struct Admitted {
    /// Everything that it asks for; its texts are taken out.
    pub call: ScoringCall,
    /// The model that scores.
    pub model: Arc<ServedModel>,
    /// Its token ids.
    pub tokens: Tokens,
    /// The engine's work for it.
    pub work: Work,
    /// Memory of its answer.
    pub share: Share,
    /// Its turn in the queue.
    pub turn: Turn,
}

/// The engine's work for a call.
pub enum Work {
    /// Scores the target of each pair, in this order.
    Likelihoods(Vec<OrderedPair>, Vec<Generation>),
    /// Encodes the texts of both sides.
    Embeddings(DistinctTexts, Results),
}

/// Reads, checks, tokenises and submits a call. `account` learns which model it is for.
///
/// # Errors
/// The [`ApiError`] for the client.
pub async fn admit(
    api: &Arc<Api>,
    account: &RequestAccount,
    request: Request,
    read: ReadBody,
) -> Result<Admitted, ApiError> {
    let parse = move |body: &[u8], api: &Api, model: &Arc<ServedModel>| {
        let call = read(body, &RequestBounds::of(api, model))?;
        check_size(&call, api)?;
        check_texts(&call, api.limits.truncated_text_bytes, model)?;
        Ok(call)
    };
    let unread = Unread { account, request, queued_as: Some(CallKind::Any) };
    let ReadRequest { model, asked: mut call, client, arrived, timeout, held } =
        read_request(api, unread, parse).await?;
    let salt = api.source_sharing.salt(&client, call.cache_salt.as_deref());
    let deadline = Deadline::soonest(arrived, timeout, call.timeout);
    let (slots, turn) = enter(api, &model, Entry { client: &client, salt, demand: call.demand(&model), deadline })?;
    let texts = call.take_texts();
    let job = move |model: &ServedModel| tokenise(&call, texts, model).map(|tokens| (call, tokens));
    // Texts take the room of their bodies until they are ids.
    let (call, tokens) = turn.in_time(api, on_tokenizing_threads(&model, job)).await??;
    drop(held);
    check_lengths(&call, &tokens, &model)?;
    check_scored_tokens(&call, &tokens, api)?;
    let share = api.answer_budget.reserve(answer_size(&call, &tokens, &model), client.peer)?;
    let work = submit(&call, &tokens, slots, &model)?;
    Ok(Admitted { call, model, tokens, work, share, turn })
}

fn check_size(call: &ScoringCall, api: &Api) -> Result<(), ApiError> {
    let (count, limit) = (call.places(), api.limits.total_choices);
    if count <= limit {
        return Ok(());
    }
    Err(ApiError::Total { param: call.many, count: count as u64, unit: "sequences", limit })
}

/// Checks each pair against the limits of the model; texts were found short enough one by one. The error names the
/// source or the target that does not fit.
fn check_lengths(call: &ScoringCall, tokens: &Tokens, model: &ServedModel) -> Result<(), ApiError> {
    if call.method == Method::Embedding {
        return Ok(());
    }
    for pair in &call.pairs {
        let (source, target) = (tokens.sources[pair.source].len(), tokens.targets[pair.target].len());
        let lengths = RequestLengths { branches: 1, source, decoder_prompt: target, max_tokens: 0 };
        model.limits().check(lengths).map_err(|refusal| {
            // Nothing is generated, so a target that is too long is so by itself.
            let beginning = call.targets.names.of(pair.target).into();
            let target = TargetNames { beginning, max_tokens: "", gives_max_tokens: true };
            ApiError::refused(refusal, call.sources.names.of(pair.source), &target)
        })?;
    }
    Ok(())
}

/// Checks the number of tokens whose log-probabilities wait to be summed up.
fn check_scored_tokens(call: &ScoringCall, tokens: &Tokens, api: &Api) -> Result<(), ApiError> {
    let (count, limit) = (scored_tokens(call, tokens), api.limits.total_log_probs);
    if count <= limit {
        return Ok(());
    }
    Err(ApiError::Total { param: call.many, count: count as u64, unit: "scored tokens", limit })
}

fn scored_tokens(call: &ScoringCall, tokens: &Tokens) -> usize {
    match call.method {
        Method::Likelihood { .. } => call.pairs.iter().map(|pair| tokens.targets[pair.target].len()).sum(),
        Method::Embedding => 0,
    }
}

/// Memory of the answer and of what the engine sends for it: log-probabilities, or states that are compared.
fn answer_size(call: &ScoringCall, tokens: &Tokens, model: &ServedModel) -> AnswerSize {
    let state_bytes = match call.method {
        Method::Likelihood { .. } => 0,
        Method::Embedding => call.places() * model.encoder_width * size_of::<f32>(),
    };
    AnswerSize {
        choices: call.pairs.len(),
        tokens: scored_tokens(call, tokens),
        token_bytes: 0,
        log_prob_bytes: 0,
        held_bytes: 0,
        repeats: Repeats { pieces: 0, request_bytes: call.repeated_bytes() + state_bytes },
    }
}

fn submit(call: &ScoringCall, tokens: &Tokens, slots: Slots, model: &ServedModel) -> Result<Work, ApiError> {
    match call.method {
        Method::Likelihood { .. } => {
            let order = in_order(&call.pairs, tokens);
            let slots = slots.divide(order.len(), 1);
            let submitted = order.iter().zip(slots).map(|(ordered, slot)| {
                let pair = call.pairs[ordered.index];
                let request = GenerationRequest {
                    decoder_prompt: tokens.targets[pair.target].to_vec(),
                    prompt_scores: Some(PromptScores { top: 0, from: ordered.known }),
                    ..GenerationRequest::new(Arc::clone(&tokens.sources[pair.source]), 0)
                };
                model.engine.submit(slot, request)
            });
            let submitted = submitted.collect::<Result<_, Refusal>>()?;
            Ok(Work::Likelihoods(order, submitted))
        }
        Method::Embedding => {
            let texts = DistinctTexts::of(tokens);
            let request = |text: &Arc<[u32]>| EncodeRequest { source: Arc::clone(text), readout: Readout::Mean };
            let results = Results::submit(model, slots, texts.texts.iter().map(request))?;
            Ok(Work::Embeddings(texts, results))
        }
    }
}
