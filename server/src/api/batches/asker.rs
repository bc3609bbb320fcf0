//! Who asks for files and batches, and the store that keeps them.

use std::sync::Arc;

use axum::http::Extensions;

use crate::access::KeyName;
use crate::api::Api;
use crate::api::http::ApiError;
use crate::batch_store::{BatchStore, Owner, StoreError};

/// Routes that the requests of a batch may name.
pub const ENDPOINTS: [&str; 12] = [
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/responses",
    "/v1/embeddings",
    "/v1/encode",
    "/v1/classify",
    "/classify",
    "/pooling",
    "/v1/score",
    "/v1/rerank",
    "/v2/rerank",
    "/rerank",
];

/// A client of files and batches.
#[derive(Debug, Clone)]
pub struct Asker {
    /// The files and batches.
    pub store: BatchStore,
    /// Which of them are the client's.
    pub owner: Owner,
}

impl Asker {
    /// The client of a request for `path` with these extensions.
    ///
    /// # Errors
    /// When this server keeps no files.
    pub fn of(api: &Arc<Api>, extensions: &Extensions, path: &'static str) -> Result<Self, ApiError> {
        let instead = "it keeps no files; name a folder for them in batches.folder of its configuration";
        let store = api.batches.get().cloned().ok_or(ApiError::NotServed { path, instead })?;
        let owner = Owner(extensions.get::<KeyName>().map(ToString::to_string));
        Ok(Self { store, owner })
    }

    /// Does what waits for the disk, on a thread that may wait.
    ///
    /// # Errors
    /// The [`StoreError`] of `work`.
    pub async fn ask<T: Send + 'static>(
        self,
        work: impl FnOnce(&BatchStore, &Owner) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, ApiError> {
        on_disk(move || work(&self.store, &self.owner)).await
    }
}

/// Does what waits for the disk, on a thread that may wait.
///
/// # Errors
/// The [`StoreError`] of `work`.
pub async fn on_disk<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, ApiError> {
    let done = tokio::task::spawn_blocking(work).await.map_err(|_| ApiError::WorkerFailed)?;
    Ok(done?)
}
