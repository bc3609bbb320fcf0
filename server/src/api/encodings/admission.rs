//! From the first byte of a body to encoder requests in the engine.
//!
//! The order is part of the contract: what costs time comes after places in the queue are taken, and a full queue is
//! answered before anything is tokenised.

use std::sync::Arc;

use axum::extract::Request;
use tokio::time::Instant;

use super::call::EncoderCall;
use super::input_fields::INPUT;
use super::results::Results;
use super::task::Task;
use crate::api::Api;
use crate::api::arrival::in_time;
use crate::api::http::{ApiError, RequestAccount, Share};
use crate::api::reading::{ReadRequest, read_request};
use crate::api::texts::on_tokenizing_threads;
use crate::client_connection::Peer;
use crate::engine::{Encoding, Slots};
use crate::registry::ServedModel;
use crate::request::{EncodeRequest, Refusal};

/// A request that is in the engine.
pub struct Admitted<T> {
    /// The model that answers it.
    pub model: Arc<ServedModel>,
    /// The route's own part.
    pub task: T,
    /// Results to come.
    pub results: Results,
    /// Tokens of each input.
    pub tokens: Vec<usize>,
    /// Memory of its answer.
    pub share: Share,
    /// When it got its places in the queue.
    pub queued: Instant,
}

/// Bytes of an answer beside its numbers, and of each of its results.
const HEAD_BYTES: usize = 512;

/// Reads, checks and tokenises a request and submits its inputs. `account` learns which model it is for.
///
/// # Errors
/// The [`ApiError`] for the client.
pub async fn admit<T: Task>(
    api: &Arc<Api>,
    account: &RequestAccount,
    request: Request,
) -> Result<Admitted<T>, ApiError> {
    let parse = |body: &[u8], api: &Api, model: &Arc<ServedModel>| EncoderCall::<T>::read(body, api, model);
    let ReadRequest { model, asked, client, held } = read_request(api, account, request, parse).await?;
    let EncoderCall { inputs, add_special_tokens, mut task, .. } = asked;
    let (names, count) = (inputs.names, inputs.count() as u32);
    let slots = model.engine.reserve(api.source_sharing.salt(&client, None), count)?;
    let queued = Instant::now();
    // Texts take the room of their bodies until they are ids.
    let tokenised = on_tokenizing_threads(&model, move |model| inputs.ids(add_special_tokens, model));
    let sources = in_time(api, queued, tokenised).await??;
    drop(held);
    for (index, source) in sources.iter().enumerate() {
        let checked = model.limits().check_encoding(source.len(), task.readout());
        checked.map_err(|refusal| ApiError::refused_source(refusal, names.of(index)))?;
    }
    let tokens: Vec<usize> = sources.iter().map(Vec::len).collect();
    task.fit(&tokens)?;
    let share = reserve_answer(api, &task, &model, &tokens, client.peer)?;
    let readout = task.readout();
    let requests = sources.into_iter().map(|source| EncodeRequest { source: source.into(), readout });
    let results = Results::new(submit(&model, slots, requests)?);
    Ok(Admitted { model, task, results, tokens, share, queued })
}

/// Reserves memory for the numbers of an answer and for their JSON, which exist at the same time.
fn reserve_answer<T: Task>(
    api: &Api,
    task: &T,
    model: &ServedModel,
    tokens: &[usize],
    peer: Option<Peer>,
) -> Result<Share, ApiError> {
    let numbers = tokens.iter().map(|&tokens| task.numbers(tokens, model)).fold(0, usize::saturating_add);
    let each = size_of::<f32>() + task.json_bytes_per_number();
    let bytes = numbers.saturating_mul(each).saturating_add(HEAD_BYTES * (1 + tokens.len()));
    let limit = api.answer_budget.largest_bytes();
    if bytes > limit {
        let unit = "bytes of answer";
        return Err(ApiError::Total { param: INPUT, count: bytes as u64, unit, limit });
    }
    api.answer_budget.reserve_bytes(bytes, peer)
}

/// Submits requests, each with one of the places.
fn submit(
    model: &ServedModel,
    mut slots: Slots,
    requests: impl Iterator<Item = EncodeRequest>,
) -> Result<Vec<Encoding>, Refusal> {
    let mut submit = |request| {
        let slot = slots.split(1).expect("a place for each input was reserved");
        model.engine.encode(slot, request)
    };
    requests.map(&mut submit).collect()
}
