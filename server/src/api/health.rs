//! `/health`, `/ready` and `/metrics`: for whoever runs the server.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};

use super::Api;
use super::error::ApiError;
use crate::engine::Refusal;

/// Alive, whatever it is doing.
pub async fn health() -> &'static str {
    "ok\n"
}

/// Whether requests are taken.
pub async fn ready(State(api): State<Arc<Api>>) -> Result<&'static str, ApiError> {
    if api.engine.is_draining() { Err(Refusal::Draining.into()) } else { Ok("ready\n") }
}

/// Prometheus' text format.
pub async fn metrics(State(api): State<Arc<Api>>) -> Response {
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    ([(header::CONTENT_TYPE, kind)], api.metrics.text()).into_response()
}
