//! From the first byte of a body to a request in the engine.
//!
//! The order is part of the contract: what costs time comes after a place in the queue is taken, and a full queue is
//! answered before anything is tokenised.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::http::{HeaderMap, header};
use tokio::time::Instant;

use super::body_model::served_model;
use super::bounds::RequestBounds;
use super::lengths::{Lengths, check_known_lengths, check_lengths, check_total_log_probs};
use super::parse::parse;
use super::request::CompletionRequest;
use super::submission::submit;
use super::tokenise::{Prepared, Texts, check_texts, tokenise};
use crate::api::Api;
use crate::api::answers::{AnswerSize, Blocks, Heading, StreamOptions, Submitted};
use crate::api::http::{ApiError, BodyReader, ReceivedBody, RequestAccount, SMALL_BODY_BYTES, Share};
use crate::api::json::shortened;
use crate::registry::ServedModel;
use crate::request::Refusal;

/// Time for which a body is still read after shutdown has begun: a client that is sending one might not see the refusal
/// otherwise.
const LATE_BODY: Duration = Duration::from_secs(1);

/// A request that is in the engine.
pub struct Admitted {
    /// Its streams.
    pub submitted: Submitted,
    /// Memory of its answer.
    pub share: Share,
    /// When it got its places in the queue.
    pub queued: Instant,
    /// Fields that all messages of the answer begin with.
    pub heading: Heading,
    /// Whether it is answered piece by piece.
    pub stream: bool,
    /// How the pieces look.
    pub stream_options: StreamOptions,
}

/// The result of `work`, of a request that got its places in the queue at `queued`.
///
/// # Errors
/// [`ApiError::QueuedTooLong`] when the request does not get its turn in time.
pub async fn in_time<T>(api: &Api, queued: Instant, work: impl Future<Output = T>) -> Result<T, ApiError> {
    let patience = api.limits.queue_timeout;
    let done = tokio::time::timeout_at(queued + patience, work).await;
    done.map_err(|_| ApiError::QueuedTooLong { seconds: patience.as_secs() })
}

/// Reads, checks, tokenises and submits a request. `account` learns which model it is for.
///
/// # Errors
/// The [`ApiError`] for the client.
pub async fn admit(api: &Arc<Api>, account: &RequestAccount, request: Request) -> Result<Admitted, ApiError> {
    if let Some(encoding) = content_encoding(request.headers()) {
        return Err(api.entrance.refuse_unread(request, ApiError::UnknownEncoding { encoding }).await);
    }
    let (head, raw) = request.into_parts();
    let peer = head.extensions.get().copied();
    let reader = BodyReader { limits: api.limits.body, budget: &api.body_budget, peer, models: &api.models };
    let body = tokio::select! {
        biased;
        read = reader.read(&head.headers, raw) => read?,
        () = too_late(api) => return Err(Refusal::Draining.into()),
    };
    let Parsed { model, mut asked, held } = parse_body(api, account, body).await?;
    check_known_lengths(api, &model, &asked)?;
    let salt = api.source_sharing.salt(peer, asked.cache_salt.as_deref());
    let slots = model.engine.reserve(salt, asked.prompts.len() as u32 * asked.choices)?;
    let queued = Instant::now();
    let texts = Texts::take_from(&mut asked);
    // Texts wait for a thread in the order of arrival, and take the room of their bodies until they are ids.
    let prepared = in_time(api, queued, tokenise_on_pool(&model, texts)).await??;
    drop(held);
    let (sources, decoder_prompt) = (prepared.sources.iter().map(Vec::len), prepared.decoder_prompt.len());
    check_lengths(&model, Lengths { sources, decoder_prompt, asked: &asked })?;
    check_total_log_probs(api, prepared.sources.len(), asked.log_probs_per_prompt(decoder_prompt))?;
    let share = api.answer_budget.reserve(answer_size(&asked, &prepared), peer)?;
    let submitted = submit(&model, slots, &asked, prepared)?;
    let blocks = Blocks { log_probs: asked.log_probs.is_some(), token_ids: asked.return_token_ids };
    let heading = Heading::new(&model.name, blocks);
    Ok(Admitted { submitted, share, queued, heading, stream: asked.stream, stream_options: asked.stream_options })
}

/// The largest answer that a request can get.
fn answer_size(asked: &CompletionRequest, prepared: &Prepared) -> AnswerSize {
    let (prompts, beginning) = (prepared.sources.len(), prepared.decoder_prompt.len());
    let choices = prompts * asked.choices as usize;
    let source_ids = if asked.return_token_ids { prepared.sources.iter().map(Vec::len).sum() } else { 0 };
    let echoed = if asked.echo { beginning } else { 0 };
    let log_probs = asked.log_probs_per_prompt(beginning).saturating_mul(prompts as u64);
    AnswerSize {
        choices,
        tokens: choices * (echoed + asked.max_tokens as usize) + source_ids * asked.choices as usize,
        log_probs: usize::try_from(log_probs).unwrap_or(usize::MAX),
    }
}

/// The body's content encoding, unless it has none.
fn content_encoding(headers: &HeaderMap) -> Option<String> {
    let values = headers.get_all(header::CONTENT_ENCODING).iter();
    let values: Vec<_> = values.map(|value| String::from_utf8_lossy(value.as_bytes()).trim().to_owned()).collect();
    let is_plain = |value: &String| value.is_empty() || value.eq_ignore_ascii_case("identity");
    (!values.iter().all(is_plain)).then(|| shortened(&values.join(", ")))
}

/// Returns when it is no use any more to wait for a body, because its request would be refused.
async fn too_late(api: &Api) {
    api.open_requests.draining().await;
    tokio::time::sleep(LATE_BODY).await;
}

/// A body that was read, and the model that it is for.
struct Parsed {
    model: Arc<ServedModel>,
    asked: CompletionRequest,
    held: Share,
}

/// Parses a body. A JSON tree takes many times the memory of its text, so only as many large ones as the pool has
/// threads exist at once. Tokenising has a pool of its own: requests that wait there have places in the queue, and
/// requests here have none yet.
async fn parse_body(api: &Arc<Api>, account: &RequestAccount, body: ReceivedBody) -> Result<Parsed, ApiError> {
    let ReceivedBody { bytes, held } = body;
    let is_small = bytes.len() <= SMALL_BODY_BYTES;
    let (api_of_job, account) = (Arc::clone(api), account.clone());
    let job = move || {
        let api = &*api_of_job;
        let model = served_model(&api.models, &account, &bytes);
        if !is_small {
            // Others may have filled the queue since this body began to arrive.
            model.engine.check_vacancy()?;
        }
        let asked = parse(&bytes, &RequestBounds::of(api, model))?;
        check_texts(&asked, model)?;
        if let Some(name) = &asked.model
            && *name != model.name
        {
            return Err(ApiError::UnknownModel { asked: shortened(name), served: api.models.names() });
        }
        account.assign(&model.metrics.requests);
        Ok(Parsed { model: Arc::clone(model), asked, held })
    };
    if is_small { job() } else { api.parsers.run(job).await? }
}

async fn tokenise_on_pool(model: &Arc<ServedModel>, texts: Texts) -> Result<Prepared, ApiError> {
    let timer = model.metrics.requests.tokenize_seconds.clone();
    let model_of_job = Arc::clone(model);
    let job = move || {
        let _timed = timer.start_timer();
        tokenise(texts, &model_of_job)
    };
    model.tokenizing.run(job).await?
}
