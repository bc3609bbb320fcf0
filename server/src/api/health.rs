//! `/health`, `/ready` and `/metrics`: for whoever runs the server.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};

use super::Api;
use super::error::ApiError;
use crate::engine::Refusal;

/// Whether the model is loaded; cheap to clone, all clones are the same flag.
#[derive(Debug, Clone, Default)]
pub struct Readiness(Arc<AtomicBool>);

impl Readiness {
    /// Requests can be served from now on.
    pub fn set_ready(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Whether [`Self::set_ready`] was called.
    pub fn is_ready(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// Alive, whatever it is doing.
pub async fn health() -> &'static str {
    "ok\n"
}

/// Whether requests are taken.
pub async fn ready(State(api): State<Arc<Api>>) -> Result<&'static str, ApiError> {
    if api.engine.is_draining() {
        Err(Refusal::Draining.into())
    } else if api.readiness.is_ready() {
        Ok("ready\n")
    } else {
        Err(ApiError::NotReady)
    }
}

/// Prometheus' text format.
pub async fn metrics(State(api): State<Arc<Api>>) -> Response {
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    ([(header::CONTENT_TYPE, kind)], api.metrics.text()).into_response()
}
