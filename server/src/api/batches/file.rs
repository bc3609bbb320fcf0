//! The routes of files that are there.

use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Request, State};
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, stream};

use super::asker::Asker;
use super::file_message::{DeletedFile, FileList, FileMessage};
use super::list_query::{FILE_QUERY, ListQuery};
use crate::api::Api;
use crate::api::http::ApiError;
use crate::client_connection::held;

const PATH: &str = "/v1/files";
/// Files of an answer if nothing is said.
const LISTED: usize = 10_000;
/// Bytes of a piece of contents.
const PIECE_BYTES: usize = 64 << 10;

/// `GET /v1/files`: the client's files, page by page.
pub async fn list(State(api): State<Arc<Api>>, request: Request) -> Result<Json<FileList>, ApiError> {
    let asker = Asker::of(&api, request.extensions(), PATH)?;
    let query = ListQuery::read(request.uri(), &FILE_QUERY)?;
    let mut all = asker.ask(|store, owner| Ok(store.files(owner))).await?;
    if let Some(purpose) = &query.purpose {
        all.retain(|file| file.purpose == *purpose);
    }
    let (part, has_more) = query.part(all, LISTED, |file| &file.id)?;
    Ok(Json(FileList::new(part, has_more)))
}

/// `GET /v1/files/{file_id}`: one of them.
pub async fn retrieve(
    State(api): State<Arc<Api>>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Json<FileMessage>, ApiError> {
    let asker = Asker::of(&api, request.extensions(), PATH)?;
    Ok(Json(asker.ask(move |store, owner| store.file(owner, &id)).await?.into()))
}

/// `DELETE /v1/files/{file_id}`: deletes one of them.
pub async fn delete(
    State(api): State<Arc<Api>>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Json<DeletedFile>, ApiError> {
    let _open = api.open_requests.open();
    let asker = match Asker::of(&api, request.extensions(), PATH) {
        Ok(asker) => asker,
        Err(error) => return Err(api.entrance.refuse_unread(request, error).await),
    };
    let deleted = DeletedFile::new(id.clone());
    asker.ask(move |store, owner| store.delete(owner, &id)).await?;
    Ok(Json(deleted))
}

/// `GET /v1/files/{file_id}/content`: its bytes, piece by piece.
pub async fn content(
    State(api): State<Arc<Api>>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let open = api.open_requests.open();
    let asker = Asker::of(&api, request.extensions(), PATH)?;
    let (record, file) = asker.ask(move |store, owner| store.contents(owner, &id)).await?;
    let headers = [
        (CONTENT_TYPE, "application/octet-stream".to_owned()),
        (CONTENT_LENGTH, record.bytes.to_string()),
        (CONTENT_DISPOSITION, "attachment".to_owned()),
    ];
    Ok((headers, held(Body::from_stream(pieces(file)), open)).into_response())
}

fn pieces(file: File) -> impl Stream<Item = io::Result<Bytes>> {
    stream::try_unfold(file, |mut file| async {
        let read = tokio::task::spawn_blocking(move || {
            let mut piece = Vec::new();
            file.by_ref().take(PIECE_BYTES as u64).read_to_end(&mut piece)?;
            Ok::<_, io::Error>((piece, file))
        });
        let (piece, file) = read.await.map_err(io::Error::other)??;
        Ok((!piece.is_empty()).then(|| (Bytes::from(piece), file)))
    })
}
