//! HTTP: OpenAI's completions over the engine's door.
//!
//! [`router`] is the entry. Nothing here knows pages, steps or tensors; the engine is reached through its handle.

mod body;
mod choice;
mod completion;
mod completions;
mod error;
mod fields;
mod generations;
mod health;
mod logprobs;
mod model;
mod models;
mod neutral;
mod opening;
mod prepare;
mod prompt;
mod record;
mod request;
mod request_name;
mod stop;
mod stream;
mod whole;
mod wire;

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderValue, header};
use axum::middleware::{from_fn, map_response};
use axum::response::Response;
use axum::routing::{get, post};

pub use body::BodyLimits;
pub use error::ApiError;
pub use model::ServedModel;
pub use record::OpenRequests;

use crate::engine::EngineHandle;
use crate::telemetry::Metrics;
use crate::tokenize::TokenizerPool;
use request::RequestBounds;

/// What one request may ask for.
#[derive(Debug, Clone, Copy)]
pub struct ApiLimits {
    /// `n`.
    pub choices: u32,
    /// Prompts in a list.
    pub prompts: usize,
    /// `logprobs`.
    pub top_log_probs: u32,
    /// Stop strings.
    pub stop_strings: usize,
    /// The body.
    pub body: BodyLimits,
}

/// Everything the handlers need.
#[derive(Debug)]
pub struct Api {
    /// The only model.
    pub model: Arc<ServedModel>,
    /// The engine's door.
    pub engine: EngineHandle,
    /// Limits of a request.
    pub limits: ApiLimits,
    /// Counters shared with the engine thread.
    pub metrics: Metrics,
    /// Threads for what takes time.
    pub pool: TokenizerPool,
    /// The requests being answered.
    pub open_requests: OpenRequests,
}

/// All routes.
pub fn router(api: Arc<Api>) -> Router {
    Router::new()
        .route("/v1/completions", post(completions::completions))
        .route("/v1/models", get(models::list))
        .route("/v1/models/{*name}", get(models::one))
        .route("/health", get(health::health))
        .route("/ready", get(health::ready))
        .route("/metrics", get(health::metrics))
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(unknown_path)
        .layer(from_fn(request_name::name_request))
        .with_state(api)
}

/// What there is to say before the model is loaded: alive, and not ready for anything.
pub fn loading_router() -> Router {
    Router::new()
        .route("/health", get(health::health))
        .fallback(async || ApiError::NotReady)
        .layer(from_fn(request_name::name_request))
        .layer(map_response(last_of_its_connection))
}

/// The connections of the time before are not kept: who comes back later is to meet the model.
async fn last_of_its_connection(mut response: Response) -> Response {
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

async fn unknown_path(request: Request) -> ApiError {
    ApiError::UnknownPath { method: request.method().to_string(), path: request.uri().path().to_owned() }
}

async fn method_not_allowed(request: Request) -> ApiError {
    ApiError::MethodNotAllowed { method: request.method().to_string(), path: request.uri().path().to_owned() }
}

impl Api {
    fn request_bounds(&self) -> RequestBounds {
        RequestBounds {
            prompts: self.limits.prompts,
            choices: self.limits.choices,
            top_log_probs: self.limits.top_log_probs,
            stop_strings: self.limits.stop_strings,
            source_vocab: self.model.source_vocab,
            target_vocab: self.model.target_vocab,
            has_tokenizer: self.model.tokenizer.is_some(),
        }
    }
}
