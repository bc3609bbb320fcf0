//! The answer of `GET /openapi.json`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};

use super::document::document;
use super::operations::operations;
use crate::api::Api;

/// The description of this server, with its own limits.
pub async fn openapi(State(api): State<Arc<Api>>) -> Response {
    Json(document(&operations(), &api.limit_values())).into_response()
}
