//! What every request passes on its way to a route: it is named, noted and let in.
//!
//! Made by `serve`, before the model is loaded. It knows no model and no engine.

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::header::EXPECT;
use axum::middleware::{from_fn, from_fn_with_state};

use super::access_log::{AccessLog, note};
use super::body::{BodyLimits, discard_body};
use super::error::ApiError;
use super::guard::{Guard, guard};
use super::request_name::name_request;
use crate::process::liveness::Liveness;
use crate::telemetry::Metrics;

/// What stands before all routes. Clones are the same entrance.
#[derive(Debug, Clone)]
pub struct Entrance {
    /// Where to count.
    pub metrics: Metrics,
    /// Who is let in.
    pub guard: Arc<Guard>,
    /// What is written of each request.
    pub access_log: AccessLog,
    /// How far a body is read that nobody wants.
    pub body: BodyLimits,
    /// Whether connections are accepted, and will be.
    pub liveness: Liveness,
}

impl Entrance {
    /// The same routes behind the entrance.
    pub fn before<S: Clone + Send + Sync + 'static>(&self, routes: Router<S>) -> Router<S> {
        // The last one is the first that a request comes to.
        routes
            .layer(from_fn_with_state(self.clone(), guard))
            .layer(from_fn_with_state(self.clone(), note))
            .layer(from_fn(name_request))
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
