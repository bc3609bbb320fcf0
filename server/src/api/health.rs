//! `/health`, `/ready`, `/metrics` and `/version`, for operators, and the answers of a server that is still loading.

use std::sync::Arc;

use axum::Json;
use axum::extract::{FromRef, Request, State};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::Api;
use super::http::{ApiError, Entrance};
use crate::request::Refusal;
use crate::telemetry::Metrics;

/// Answers as long as the process lives.
pub async fn health() -> &'static str {
    "ok\n"
}

/// Answers whether requests are accepted.
pub async fn ready(State(api): State<Arc<Api>>) -> Result<&'static str, ApiError> {
    if api.entrance.liveness.is_leaving() || api.models.is_draining() {
        return Err(Refusal::Draining.into());
    }
    if !api.entrance.liveness.is_accepting() {
        return Err(ApiError::NotAccepting);
    }
    let silence = api.models.longest_silence();
    if silence > api.stall_timeout {
        return Err(ApiError::EngineStalled { seconds: silence.as_secs() });
    }
    Ok("ready\n")
}

/// Refuses anything but a probe on a connection that is kept free for probes.
pub async fn no_room() -> ApiError {
    ApiError::NoRoom
}

/// All metrics in Prometheus' text format.
pub async fn metrics(State(metrics): State<Metrics>) -> Response {
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    ([(header::CONTENT_TYPE, kind)], metrics.text()).into_response()
}

/// The server's version, in vLLM's form.
pub async fn version() -> Response {
    Json(Version { version: env!("CARGO_PKG_VERSION") }).into_response()
}

/// The version of the program.
#[derive(Serialize, ToSchema)]
pub struct Version {
    #[schema(value_type = String)]
    version: &'static str,
}

impl FromRef<Arc<Api>> for Metrics {
    fn from_ref(api: &Arc<Api>) -> Self {
        api.entrance.metrics.clone()
    }
}

impl FromRef<Entrance> for Metrics {
    fn from_ref(entrance: &Entrance) -> Self {
        entrance.metrics.clone()
    }
}

/// Answers paths that need a model before it is loaded.
pub async fn not_ready(State(entrance): State<Entrance>, request: Request) -> ApiError {
    entrance.refuse_unread(request, ApiError::NotReady).await
}

/// Answers a request for a model before any is loaded, and counts it.
pub async fn no_model_yet(State(entrance): State<Entrance>, request: Request) -> ApiError {
    let error = ApiError::NotReady;
    entrance.metrics.without_model().count_request(error.outcome());
    entrance.refuse_unread(request, error).await
}
