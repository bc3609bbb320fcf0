//! `POST /v1/completions`, from the first byte of the body to the streams of the engine.
//!
//! The order is part of the contract: what costs time comes after a place in the queue is taken, and a full queue is
//! answered before anything is tokenised.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use tokio::time::Instant;

use super::bounds::RequestBounds;
use super::prepare::{Inputs, Prepared, check_texts, prepare};
use super::prompt::{Prompt, PromptNames};
use super::request::CompletionRequest;
use crate::api::Api;
use crate::api::answers::{
    AnswerSize, Blocks, ChoiceSettings, Completion, Delivery, Heading, RequestRecord, StopStrings, StreamOptions,
    Submitted, stream_answer, whole_answer,
};
use crate::api::http::{ApiError, BodyReader, ReceivedBody, SMALL_BODY_BYTES, Share, Visit, random_u64};
use crate::api::json::shortened;
use crate::client_connection::ConnectionLife;
use crate::engine::{Generation, Slots};
use crate::request::{GenerationRequest, Refusal, RequestLengths};

/// So long after shutdown has begun a body is still read: a client that is sending one might not see the refusal else.
const LATE_BODY: Duration = Duration::from_secs(1);

/// The handler.
pub async fn completions(State(api): State<Arc<Api>>, request: Request) -> Response {
    let visit = request.extensions().get::<Visit>().cloned().unwrap_or_default();
    let life = request.extensions().get::<ConnectionLife>().cloned().unwrap_or_default();
    let mut record = RequestRecord::new(&api.metrics, &api.open_requests, visit, life);
    let admitted = tokio::select! {
        error = record.cut_off() => Err(error),
        admitted = admit(&api, request) => admitted,
    };
    let admitted = match admitted {
        Ok(admitted) => admitted,
        Err(error) => {
            record.fail(&error);
            return error.into_response();
        }
    };
    let Admitted { submitted, share, queued, heading, stream, stream_options } = admitted;
    record.submitted(submitted.sources.iter().map(|source| source.len()));
    let mut completion = Completion::new(submitted, Delivery { record, share });
    // Its status is not sent before it is known whether the request gets its turn.
    let begun = in_time(&api, queued, completion.begin()).await;
    if let Err(error) = begun.and_then(|begun| begun) {
        completion.record().fail(&error);
        return error.into_response();
    }
    if stream { stream_answer(completion, heading, stream_options) } else { whole_answer(completion, heading).await }
}

/// What `work` gives, or that the request, which has places in the queue since `queued`, did not get its turn in time.
async fn in_time<T>(api: &Api, queued: Instant, work: impl Future<Output = T>) -> Result<T, ApiError> {
    let patience = api.limits.queue_timeout;
    let done = tokio::time::timeout_at(queued + patience, work).await;
    done.map_err(|_| ApiError::QueuedTooLong { seconds: patience.as_secs() })
}

/// A request that is in the engine.
struct Admitted {
    submitted: Submitted,
    share: Share,
    /// Since when it has places in the queue.
    queued: Instant,
    heading: Heading,
    stream: bool,
    stream_options: StreamOptions,
}

async fn admit(api: &Arc<Api>, request: Request) -> Result<Admitted, ApiError> {
    if let Some(encoding) = content_encoding(request.headers()) {
        return Err(api.entrance.refuse_unread(request, ApiError::UnknownEncoding { encoding }).await);
    }
    let (head, raw) = request.into_parts();
    let peer = head.extensions.get().copied();
    let reader = BodyReader { limits: api.limits.body, budget: &api.body_budget, peer, engine: &api.engine };
    let body = tokio::select! {
        biased;
        read = reader.read(&head.headers, raw) => read?,
        () = too_late(api) => return Err(Refusal::Draining.into()),
    };
    let (mut asked, held) = parse(api, body).await?;
    check_before_tokenising(api, &asked)?;
    let salt = api.source_sharing.salt(peer, asked.cache_salt.as_deref());
    let slots = api.engine.reserve(salt, asked.prompts.len() as u32 * asked.choices).map_err(ApiError::from)?;
    let queued = Instant::now();
    let inputs = Inputs {
        prompts: std::mem::take(&mut asked.prompts),
        names: asked.prompt_names,
        decoder_prompt: asked.decoder_prompt.take(),
        add_special_tokens: asked.add_special_tokens,
        echo: asked.echo,
    };
    // Texts wait for a thread in the order of arrival, and take the room of their bodies until they are ids.
    let prepared = in_time(api, queued, tokenise(api, inputs)).await??;
    drop(held);
    let sources = prepared.sources.iter().map(Vec::len);
    check_lengths(api, Lengths { sources, decoder_prompt: prepared.decoder_prompt.len(), asked: &asked })?;
    check_total_log_probs(api, prepared.sources.len(), asked.log_probs_per_prompt(prepared.decoder_prompt.len()))?;
    let share = api.answer_budget.reserve(answer_size(&asked, &prepared), peer)?;
    let submitted = submit(api, slots, &asked, prepared)?;
    let blocks = Blocks { log_probs: asked.log_probs.is_some(), token_ids: asked.return_token_ids };
    let heading = Heading::new(&api.model.name, blocks);
    Ok(Admitted { submitted, share, queued, heading, stream: asked.stream, stream_options: asked.stream_options })
}

/// What the answer is made of at most.
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

/// What the body is encoded as, when that is anything at all.
fn content_encoding(headers: &HeaderMap) -> Option<String> {
    let values = headers.get_all(header::CONTENT_ENCODING).iter();
    let values: Vec<_> = values.map(|value| String::from_utf8_lossy(value.as_bytes()).trim().to_owned()).collect();
    let is_plain = |value: &String| value.is_empty() || value.eq_ignore_ascii_case("identity");
    (!values.iter().all(is_plain)).then(|| shortened(&values.join(", ")))
}

/// Returns when it is no use any more to wait for a body, whose request would be refused.
async fn too_late(api: &Api) {
    api.open_requests.draining().await;
    tokio::time::sleep(LATE_BODY).await;
}

/// A JSON tree takes many times the memory of its text, so only as many large ones as the pool has threads exist at
/// once. Tokenising has a pool of its own: what waits there has a place in the queue, and nothing here has one yet.
async fn parse(api: &Arc<Api>, body: ReceivedBody) -> Result<(CompletionRequest, Share), ApiError> {
    let bounds = RequestBounds::of(api);
    let ReceivedBody { bytes, held } = body;
    if bytes.len() <= SMALL_BODY_BYTES {
        let asked = CompletionRequest::parse(&bytes, &bounds)?;
        check_texts(&asked, &api.model)?;
        return Ok((asked, held));
    }
    let (engine, model) = (api.engine.clone(), Arc::clone(&api.model));
    let job = move || {
        // Others may have filled the queue since this body began to arrive.
        engine.check_vacancy()?;
        let asked = CompletionRequest::parse(&bytes, &bounds)?;
        check_texts(&asked, &model)?;
        Ok((asked, held))
    };
    api.parsers.run(job).await?
}

fn check_before_tokenising(api: &Api, asked: &CompletionRequest) -> Result<(), ApiError> {
    if let Some(name) = &asked.model
        && *name != api.model.name
    {
        return Err(ApiError::UnknownModel { asked: shortened(name), served: api.model.name.clone() });
    }
    // What is too long whatever it says is refused before a place is taken. Of a text one token is known.
    let beginning = match &asked.decoder_prompt {
        Some(prompt @ Prompt::Ids(ids)) => ids.len() - prompt.start_tokens(api.model.start_token),
        Some(Prompt::Text(_)) | None => 0,
    };
    let sources = asked.prompts.iter().map(|prompt| match prompt {
        Prompt::Ids(ids) => ids.len(),
        Prompt::Text(_) => 1,
    });
    check_lengths(api, Lengths { sources, decoder_prompt: beginning, asked })?;
    check_total_log_probs(api, asked.prompts.len(), asked.log_probs_per_prompt(beginning))
}

fn check_total_log_probs(api: &Api, prompts: usize, per_prompt: u64) -> Result<(), ApiError> {
    let (count, limit) = (per_prompt.saturating_mul(prompts as u64), api.limits.total_log_probs);
    if count <= limit as u64 {
        return Ok(());
    }
    let unit = "log-probabilities (choices times tokens times logprobs + 1)";
    Err(ApiError::Total { param: "logprobs", count, unit, limit })
}

async fn tokenise(api: &Arc<Api>, inputs: Inputs) -> Result<Prepared, ApiError> {
    let model = Arc::clone(&api.model);
    let timer = api.metrics.tokenize_seconds.clone();
    let job = move || {
        let _timed = timer.start_timer();
        prepare(inputs, &model)
    };
    api.pool.run(job).await?
}

/// Tokens of a request, as far as they are known.
struct Lengths<'a, I> {
    sources: I,
    decoder_prompt: usize,
    asked: &'a CompletionRequest,
}

fn check_lengths(api: &Api, lengths: Lengths<'_, impl Iterator<Item = usize>>) -> Result<(), ApiError> {
    let Lengths { sources, decoder_prompt, asked } = lengths;
    for (index, source) in sources.enumerate() {
        let name = || (asked.prompt_names == PromptNames::Listed).then(|| asked.prompt_names.of(index));
        let max_tokens = asked.max_tokens as usize;
        api.engine
            .check(RequestLengths { source, decoder_prompt, max_tokens })
            .map_err(|refusal| ApiError::Refused { refusal, prompt: name() })?;
    }
    Ok(())
}

fn submit(api: &Api, slots: Slots, asked: &CompletionRequest, prepared: Prepared) -> Result<Submitted, ApiError> {
    let Prepared { sources, decoder_prompt, opening } = prepared;
    let sources: Vec<Arc<[u32]>> = sources.into_iter().map(Arc::from).collect();
    let request = |source: &Arc<[u32]>| {
        let mut sampling = asked.sampling;
        // Without a seed equal prompts of one list are to differ, so each gets its own.
        sampling.seed = asked.seed.unwrap_or_else(random_u64);
        GenerationRequest {
            decoder_prompt: decoder_prompt.clone(),
            choices: asked.choices,
            min_tokens: asked.min_tokens,
            ignore_end: asked.ignore_eos,
            sampling,
            log_probs: asked.log_probs,
            score_prompt: asked.echo && asked.log_probs.is_some() && !decoder_prompt.is_empty(),
            ..GenerationRequest::new(Arc::clone(source), asked.max_tokens)
        }
    };
    let generations = slots_each(slots, sources.len(), asked.choices)
        .zip(&sources)
        .map(|(slot, source)| api.engine.submit(slot, request(source)))
        .collect::<Result<Vec<Generation>, Refusal>>()
        .map_err(ApiError::from)?;
    Ok(Submitted {
        generations,
        sources,
        choices_per_prompt: asked.choices as usize,
        settings: ChoiceSettings {
            model: Arc::clone(&api.model),
            stop: Arc::new(StopStrings::new(&asked.stop)),
            min_tokens: asked.min_tokens,
            return_token_ids: asked.return_token_ids,
            coalesce: asked.stream_options.coalesce,
            opening,
        },
    })
}

/// Deals places out to so many prompts, one for each choice.
fn slots_each(slots: Slots, prompts: usize, choices: u32) -> impl Iterator<Item = Slots> {
    let mut left = Some(slots);
    (0..prompts).rev().map(move |after| {
        if after == 0 {
            return left.take().expect("places for all prompts were reserved");
        }
        left.as_mut().and_then(|slots| slots.split(choices)).expect("places for all prompts were reserved")
    })
}
