//! From the first byte of a body to encoder requests in the engine.
//!
//! The order is part of the contract: what costs time comes after places in the queue are taken, and a full queue is
//! answered before anything is tokenised.

use std::sync::Arc;

use axum::extract::Request;

use super::call::EncoderCall;
use super::input_fields::INPUT;
use super::task::Task;
use crate::api::Api;
use crate::api::http::{ApiError, RequestAccount, Share};
use crate::api::reading::{ReadRequest, Unread, read_request};
use crate::api::results::Results;
use crate::api::texts::on_tokenizing_threads;
use crate::api::turn::{Deadline, Entry, Turn, enter};
use crate::client_connection::Peer;
use crate::overload::CallKind;
use crate::registry::ServedModel;
use crate::request::EncodeRequest;
use crate::traces::Period;

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
    /// The largest size of its answer.
    pub size: EncodingsSize,
    /// Memory of its answer.
    pub share: Share,
    /// Its turn in the queue.
    pub turn: Turn,
    /// Time in which its texts became tokens.
    pub tokenising: Period,
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
    let unread = Unread { account, request, queued_as: Some(CallKind::Encodings) };
    let ReadRequest { model, asked, client, arrived, timeout, held } = read_request(api, unread, parse).await?;
    let names = asked.inputs.names;
    let (salt, demand) = (api.source_sharing.salt(&client, None), asked.demand(&model));
    let deadline = Deadline::soonest(arrived, timeout, asked.timeout);
    let (slots, turn) = enter(api, &model, Entry { client: &client, salt, demand, deadline })?;
    // Texts take the room of their bodies until they are ids.
    let tokenised = on_tokenizing_threads(&model, move |model| {
        let task = asked.task.clone();
        Ok((asked.ids(model)?, task))
    });
    let began = std::time::Instant::now();
    let (sources, mut task) = turn.in_time(api, tokenised).await??;
    let tokenising = Period::since(began);
    drop(held);
    for (index, source) in sources.iter().enumerate() {
        let checked = model.limits().check_encoding(source.len(), task.readout());
        checked.map_err(|refusal| ApiError::refused_source(refusal, names.of(index)))?;
    }
    let tokens: Vec<usize> = sources.iter().map(Vec::len).collect();
    task.fit(&tokens)?;
    let size = EncodingsSize::of(&task, &tokens, &model);
    let share = size.reserve(api, client.peer)?;
    let readout = task.readout();
    let requests = sources.into_iter().map(|source| EncodeRequest { source: source.into(), readout });
    let results = Results::submit(&model, slots, requests)?;
    Ok(Admitted { model, task, results, tokens, size, share, turn, tokenising })
}

/// The largest size of an answer, whose numbers and JSON exist at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EncodingsSize {
    /// Bytes of the numbers.
    pub number_bytes: usize,
    /// Bytes of the JSON.
    pub json_bytes: usize,
}

impl EncodingsSize {
    /// The size of the answer for inputs of so many tokens each.
    pub fn of<T: Task>(task: &T, inputs: &[usize], model: &ServedModel) -> Self {
        let numbers = inputs.iter().map(|&tokens| task.numbers(tokens, model)).fold(0, usize::saturating_add);
        Self {
            number_bytes: numbers.saturating_mul(size_of::<f32>()),
            json_bytes: numbers
                .saturating_mul(task.json_bytes_per_number())
                .saturating_add(HEAD_BYTES * (1 + inputs.len())),
        }
    }

    fn reserve(self, api: &Api, peer: Option<Peer>) -> Result<Share, ApiError> {
        let (bytes, limit) = (self.number_bytes.saturating_add(self.json_bytes), api.answer_budget.largest_bytes());
        if bytes > limit {
            let unit = "bytes of answer";
            return Err(ApiError::Total { param: INPUT, count: bytes as u64, unit, limit });
        }
        api.answer_budget.reserve_bytes(bytes, peer)
    }
}
