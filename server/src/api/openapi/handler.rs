//! The answer of `GET /openapi.json`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};

use super::document::{ServerFacts, document};
use super::operations::operations;
use crate::api::Api;

/// The description of this server, with its own limits.
pub async fn openapi(State(api): State<Arc<Api>>) -> Response {
    let needs_key = api.entrance.keys.keys.present().is_some();
    Json(document(&operations(), &ServerFacts { limits: api.limit_values(), needs_key })).into_response()
}
