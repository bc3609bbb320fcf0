//! `GET /load`: how busy the server is, for balancers that ask instead of reading metrics.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::Api;

/// How busy the server is. The first field has vLLM's name.
#[derive(Debug, Serialize, ToSchema)]
pub struct Load {
    /// Requests that are being answered.
    server_load: usize,
    /// Each model.
    models: Vec<ModelLoad>,
}

/// How busy one model is.
#[derive(Debug, Serialize, ToSchema)]
pub struct ModelLoad {
    id: String,
    /// Sequences in the decode batch.
    running_rows: i64,
    /// Sequences that wait for pages or a row.
    waiting_rows: i64,
    /// Sequences that could still be queued.
    free_queue_rows: usize,
}

/// Answers with the present load.
pub async fn load(State(api): State<Arc<Api>>) -> Response {
    let models = api.models.iter().map(|model| ModelLoad {
        id: model.name.clone(),
        running_rows: model.metrics.engine.running_rows.get(),
        waiting_rows: model.metrics.engine.waiting_rows.get(),
        free_queue_rows: model.engine.free_slots(),
    });
    Json(Load { server_load: api.open_requests.count(), models: models.collect() }).into_response()
}
