//! Reads a request's body and has it parsed against the bounds of its model.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use tokio::time::Instant;

use super::body_model::served_model;
use crate::api::Api;
use crate::api::http::{
    ApiError, BodyReader, Queues, ReceivedBody, RequestAccount, SMALL_BODY_BYTES, Share, asked_timeout, client_of,
};
use crate::overload::{CallKind, Visitor};
use crate::process::allocator::check_room;
use crate::registry::ServedModel;
use crate::request::Refusal;
use crate::source_sharing::Client;

/// Time for which a body is still read after shutdown has begun: a client that is sending one might not see the refusal
/// otherwise.
const LATE_BODY: Duration = Duration::from_secs(1);
/// Memory that a large body takes once it is parsed and tokenised, in bytes for each of its own: the text, and at worst
/// an id of four bytes for each byte.
const PARSED_FACTOR: usize = 5;

/// A request whose body was read.
#[derive(Debug)]
pub struct ReadRequest<T> {
    /// The model that it is for.
    pub model: Arc<ServedModel>,
    /// The parsed body.
    pub asked: T,
    /// Its sender.
    pub client: Client,
    /// When its head had arrived.
    pub arrived: Instant,
    /// The time within which its head wants the answer.
    pub timeout: Option<Duration>,
    /// Memory of the body, to be kept as long as the texts in it.
    pub held: Share,
}

/// A request whose body is still to be read.
pub struct Unread<'a> {
    /// Learns which model the request is for.
    pub account: &'a RequestAccount,
    /// The request.
    pub request: Request,
    /// The kind of call that it is, if it waits in a queue: a large body is not read while there is no place for it.
    pub queued_as: Option<CallKind>,
}

/// Reads a request and parses its body with `parse`.
///
/// A body is answered in this order: whether it is a JSON object, whether there is the model that it names, and what
/// `parse` finds.
///
/// # Errors
/// The [`ApiError`] for the client.
pub async fn read_request<T: Send + 'static>(
    api: &Arc<Api>,
    unread: Unread<'_>,
    parse: impl FnOnce(&[u8], &Api, &Arc<ServedModel>) -> Result<T, ApiError> + Send + 'static,
) -> Result<ReadRequest<T>, ApiError> {
    let Unread { account, request, queued_as } = unread;
    let (head, raw) = request.into_parts();
    let (client, arrived, timeout) = (client_of(&head), Instant::now(), asked_timeout(&head.headers)?);
    let visitor = queued_as.map(|kind| Visitor { party: client.party(), priority: client.priority, kind });
    let queues = visitor.as_ref().map(|visitor| Queues { models: &api.models, visitor });
    let reader = BodyReader { queues, ..api.body_reader(client.peer) };
    let ReceivedBody { bytes, held } = tokio::select! {
        biased;
        read = reader.read(&head.headers, raw) => read?,
        () = too_late(api) => return Err(Refusal::Draining.into()),
    };
    let is_small = bytes.len() <= SMALL_BODY_BYTES;
    if !is_small {
        // What is parsed and tokenised of it cannot be refused half-way.
        check_room(PARSED_FACTOR * bytes.len())?;
    }
    let visitor = visitor.filter(|_| !is_small);
    let (api_of_job, account) = (Arc::clone(api), account.clone());
    let job = move || {
        let api = &*api_of_job;
        if let Some(visitor) = &visitor {
            // Others may have filled the queues since this body began to arrive.
            api.models.check_vacancy_for(None, visitor)?;
        }
        let model = served_model(&api.models, &account, &bytes)?;
        if let Some(visitor) = &visitor {
            model.engine.check_vacancy(visitor)?;
        }
        let asked = parse(&bytes, api, model)?;
        Ok(ReadRequest { model: Arc::clone(model), asked, client, arrived, timeout, held })
    };
    // A JSON tree takes many times the memory of its text, so only as many large ones as the pool has threads exist at
    // once. Tokenising has a pool of its own: requests that wait there have places in the queue, and requests here have
    // none yet.
    if is_small { job() } else { api.parsers.run(job).await? }
}

/// Returns when it is no use any more to wait for a body, because its request would be refused.
async fn too_late(api: &Api) {
    api.open_requests.draining().await;
    tokio::time::sleep(LATE_BODY).await;
}
