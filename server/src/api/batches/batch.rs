//! The routes of batches.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Request, State};

use super::asker::Asker;
use super::batch_fields::read_batch;
use super::batch_message::{BatchList, BatchMessage};
use super::list_query::{BATCH_QUERY, ListQuery};
use crate::api::Api;
use crate::api::http::{ApiError, ReceivedBody};

const PATH: &str = "/v1/batches";
/// Batches of an answer if nothing is said.
const LISTED: usize = 20;

/// `POST /v1/batches`: takes a batch.
pub async fn create(State(api): State<Arc<Api>>, request: Request) -> Result<Json<BatchMessage>, ApiError> {
    let _open = api.open_requests.open();
    let asker = match Asker::of(&api, request.extensions(), PATH) {
        Ok(asker) => asker,
        Err(error) => return Err(api.entrance.refuse_unread(request, error).await),
    };
    let (head, body) = request.into_parts();
    let reader = api.body_reader(head.extensions.get().copied());
    let ReceivedBody { bytes, held } = reader.read(&head.headers, body).await?;
    let asked = api.parsers.run(move || {
        let _held = held;
        read_batch(&bytes)
    });
    let asked = asked.await??;
    Ok(Json(asker.ask(|store, owner| store.create(owner, asked)).await?.into()))
}

/// `GET /v1/batches`: the client's batches, page by page.
pub async fn list(State(api): State<Arc<Api>>, request: Request) -> Result<Json<BatchList>, ApiError> {
    let asker = Asker::of(&api, request.extensions(), PATH)?;
    let query = ListQuery::read(request.uri(), &BATCH_QUERY)?;
    let all = asker.ask(|store, owner| Ok(store.batches(owner))).await?;
    let (part, has_more) = query.part(all, LISTED, |batch| &batch.id)?;
    Ok(Json(BatchList::new(part, has_more)))
}

/// `GET /v1/batches/{batch_id}`: one of them.
pub async fn retrieve(
    State(api): State<Arc<Api>>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Json<BatchMessage>, ApiError> {
    let asker = Asker::of(&api, request.extensions(), PATH)?;
    Ok(Json(asker.ask(move |store, owner| store.batch(owner, &id)).await?.into()))
}

/// `POST /v1/batches/{batch_id}/cancel`: ends one before it is done.
pub async fn cancel(
    State(api): State<Arc<Api>>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Json<BatchMessage>, ApiError> {
    let _open = api.open_requests.open();
    let asker = match Asker::of(&api, request.extensions(), PATH) {
        Ok(asker) => asker,
        Err(error) => return Err(api.entrance.refuse_unread(request, error).await),
    };
    Ok(Json(asker.ask(move |store, owner| store.cancel(owner, &id)).await?.into()))
}
