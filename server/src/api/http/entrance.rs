//! Parts that every request passes before its route: the metrics, the guard, the keys, the access log and the limits of
//! its body. `layers` has the order.
//!
//! Made by the `serve` command before any model is loaded. It knows no model and no engine.

use std::sync::Arc;

use axum::extract::Request;
use axum::http::header::EXPECT;

use super::access_log::AccessLog;
use super::body::{BodyLimits, discard_body};
use super::error::ApiError;
use super::guard::Guard;
use super::key_check::KeyCheck;
use crate::process::liveness::Liveness;
use crate::telemetry::Metrics;
use crate::traces::Traces;

/// Checks and records before all routes. Clones are the same entrance.
#[derive(Debug, Clone)]
pub struct Entrance {
    /// Metrics that count requests.
    pub metrics: Metrics,
    /// Hosts and origins that are let in.
    pub guard: Arc<Guard>,
    /// Hosts and origins that are let in at the second address, which has names of its own.
    pub probe_guard: Arc<Guard>,
    /// Keys that requests need.
    pub keys: KeyCheck,
    /// Which requests get a line in the log.
    pub access_log: AccessLog,
    /// How far an unwanted body is read.
    pub body: BodyLimits,
    /// Whether connections are accepted, and will be.
    pub liveness: Liveness,
    /// Begins traces of requests.
    pub traces: Traces,
    /// Whether there is a page at `/`.
    pub serves_page: bool,
}

impl Entrance {
    /// The entrance of the second address.
    pub fn for_probes(&self) -> Self {
        Self { guard: Arc::clone(&self.probe_guard), ..self.clone() }
    }

    /// Reads what is still to come of a request that is refused, so that its client gets to see the answer.
    pub async fn refuse_unread(&self, request: Request, error: ApiError) -> ApiError {
        // A client that waits for permission to send gets its answer first.
        if !request.headers().contains_key(EXPECT) {
            discard_body(request.into_body(), self.body).await;
        }
        error
    }
}
