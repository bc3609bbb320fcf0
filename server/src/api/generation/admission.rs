//! From the first byte of a body to a request in the engine.
//!
//! The order is part of the contract: what costs time comes after a place in the queue is taken, and a full queue is
//! answered before anything is tokenised.

use std::sync::Arc;

use axum::extract::Request;

use super::asked::{Asked, ReadBody};
use super::bounds::RequestBounds;
use super::call::GenerationCall;
use super::lengths::{Lengths, LogProbs, check_known_lengths, check_lengths, check_total_log_probs, settle_lengths};
use super::submission::submit;
use super::tokenise::{Texts, TokenisedCall, check_texts, tokenise};
use crate::api::Api;
use crate::api::answers::{AnswerForm, AnswerSize, SCORE_BYTES, Submitted, prompt_log_prob_bytes};
use crate::api::http::{ApiError, AskedOutput, RequestAccount, Share};
use crate::api::reading::{ReadRequest, Unread, read_request};
use crate::api::structure::compiled;
use crate::api::texts::on_tokenizing_threads;
use crate::api::turn::{Deadline, Entry, Turn, enter};
use crate::overload::CallKind;
use crate::registry::{LongestToken, ServedModel};
use crate::request::Constraint;
use crate::source_sharing::Client;
use crate::traces::Period;

/// Bytes of a token whose log-probabilities are held, beside these: their place, and its part in each list of a search.
const HELD_BYTES: usize = 96;

/// Who waits for a request, and for how long.
#[derive(Clone, Copy)]
pub struct Waiting<'a> {
    /// The client.
    pub client: &'a Client,
    /// The request's turn.
    pub turn: &'a Turn,
}

/// A request that is in the engine.
pub struct Admitted {
    /// Its streams.
    pub submitted: Submitted,
    /// Memory of its answer.
    pub share: Share,
    /// Its turn in the queue.
    pub turn: Turn,
    /// The form of its answer.
    pub form: Box<dyn AnswerForm>,
    /// Whether it is answered piece by piece.
    pub stream: bool,
    /// Output that is wanted of each prompt.
    pub output: AskedOutput,
    /// Time in which its texts became tokens.
    pub tokenising: Period,
}

/// Prepares a request and submits it. `account` learns which model it is for.
///
/// # Errors
/// The [`ApiError`] for the client.
pub async fn admit(
    api: &Arc<Api>,
    account: &RequestAccount,
    request: Request,
    read: ReadBody,
) -> Result<Admitted, ApiError> {
    let unread = Unread { account, request, queued_as: Some(CallKind::Targets) };
    let ReadRequest { model, asked, client, arrived, timeout, held } = read_call(api, unread, read).await?;
    let Asked { mut call, form } = asked;
    let salt = api.source_sharing.salt(&client, call.cache_salt.as_deref());
    let deadline = Deadline::soonest(arrived, timeout, call.timeout);
    let (slots, turn) = enter(api, &model, Entry { client: &client, salt, demand: call.demand(&model), deadline })?;
    let waiting = Waiting { client: &client, turn: &turn };
    let began = std::time::Instant::now();
    let tokens = tokenised(api, &model, &mut call, waiting).await?;
    let tokenising = Period::since(began);
    let share =
        api.answer_budget.reserve(answer_size(&call, &tokens, form.as_ref(), &model.longest_token), client.peer)?;
    let output = AskedOutput {
        choices: call.generated(),
        tokens: call.known_max_tokens(),
        sampling: call.sampling,
        seed: call.seed,
    };
    let submitted = submit(&model, slots, &call, tokens)?;
    // Texts take the room of their bodies until only their ids are left.
    drop(held);
    Ok(Admitted { submitted, share, turn, form, stream: call.stream, output, tokenising })
}

/// Reads a request and checks it, as far as its texts need not be tokens.
///
/// # Errors
/// The [`ApiError`] for the client.
pub async fn read_call(api: &Arc<Api>, unread: Unread<'_>, read: ReadBody) -> Result<ReadRequest<Asked>, ApiError> {
    let parse = move |body: &[u8], api: &Api, model: &Arc<ServedModel>| {
        model.check_generates()?;
        let asked = read(body, &RequestBounds::of(api, model), model)?;
        check_texts(&asked.call, model)?;
        Ok(asked)
    };
    let read = read_request(api, unread, parse).await?;
    check_known_lengths(api, &read.model, &read.asked.call)?;
    Ok(read)
}

/// The tokens of a call's texts, which are taken out of it, and the form of its answer, compiled. All of the call is
/// checked then, and its numbers of tokens to generate are settled.
///
/// # Errors
/// The [`ApiError`] for the client.
pub async fn tokenised(
    api: &Api,
    model: &Arc<ServedModel>,
    call: &mut GenerationCall,
    waiting: Waiting<'_>,
) -> Result<TokenisedCall, ApiError> {
    let Waiting { client, turn } = waiting;
    let texts = Texts::take_from(call);
    let tokenised = on_tokenizing_threads(model, move |model| tokenise(texts, model));
    let mut tokens = turn.in_time(api, tokenised).await??;
    settle_lengths(model, &tokens, call)?;
    let (sources, beginnings) = (tokens.source_lengths(), &tokens.beginning_lengths()[..]);
    check_lengths(model, Lengths { sources, beginnings, asked: call })?;
    check_total_log_probs(api, call, LogProbs { prompts: tokens.sources.len(), beginnings })?;
    if let Some(structure) = &call.structure {
        tokens.constraint = Some(turn.in_time(api, compiled(model, structure, client)).await??);
    }
    Ok(tokens)
}

/// The largest answer that a request can get.
fn answer_size(
    asked: &GenerationCall,
    tokens: &TokenisedCall,
    form: &dyn AnswerForm,
    longest: &LongestToken,
) -> AnswerSize {
    let rows = asked.requests().saturating_mul(asked.rows_of_prompt() as usize);
    let form_bytes = |constraint: &Constraint| constraint.bytes() + constraint.answer_bytes().saturating_mul(rows);
    let mut size = AnswerSize {
        choices: 0,
        tokens: 0,
        token_bytes: longest.name_json,
        log_prob_bytes: 0,
        held_bytes: tokens.constraint.as_ref().map_or(0, form_bytes),
        repeats: form.repeats(),
    };
    let prompts = tokens.sources.len();
    let source_ids = if asked.return_token_ids { tokens.source_lengths().sum() } else { 0 };
    let count = |of_prompt: u64| usize::try_from(of_prompt).unwrap_or(usize::MAX).saturating_mul(prompts);
    let [top, prompt_top] = [asked.log_probs, asked.prompt_log_probs].map(|top| top.unwrap_or_default() as usize);
    for beginning in tokens.beginning_lengths() {
        let (each, choices) = (asked.generated() as usize, prompts * asked.generated() as usize);
        let echoed = if asked.echo { beginning } else { 0 };
        let scored = count(asked.scored_per_prompt(beginning)).saturating_mul(form.log_prob_bytes(top));
        let apart = count(asked.prompt_scored_per_prompt(beginning));
        let apart = apart.saturating_mul(prompt_log_prob_bytes(longest, prompt_top));
        let held = count(asked.held_per_prompt()).saturating_mul(HELD_BYTES + SCORE_BYTES * (1 + top));
        size.choices += choices;
        size.tokens += choices * (echoed + asked.known_max_tokens() as usize) + source_ids * each;
        size.log_prob_bytes = size.log_prob_bytes.saturating_add(scored).saturating_add(apart);
        size.held_bytes = size.held_bytes.saturating_add(held);
    }
    size
}
