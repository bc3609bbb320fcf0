//! HTTP: OpenAI's completions over the engine's door.
//!
//! [`router`] is the entry. Nothing here knows pages, steps or tensors; the engine is reached through its handle.

mod access;
mod answer_budget;
mod body;
mod brief;
mod budget;
mod choice;
mod completion;
mod completions;
mod delivery;
mod draft;
mod entrance;
mod error;
mod error_response;
mod fields;
mod generations;
mod guard;
mod health;
mod ids;
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
mod routes;
mod shape;
mod stop;
mod stop_field;
mod stream;
mod whole;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::routing::any;

pub use access::AccessLog;
pub use answer_budget::AnswerBudget;
pub use body::{BodyLimits, BodyPace};
pub use budget::{Budget, BudgetLimits};
pub use entrance::Entrance;
pub use error::ApiError;
pub use guard::{Guard, GuardSettings};
pub use model::ServedModel;
pub use record::OpenRequests;

use crate::engine::EngineHandle;
use crate::job_pool::JobPool;
use crate::source_sharing::SourceSharing;
use crate::telemetry::Metrics;
use ids::IdBounds;
use prompt::PromptBounds;
use request::RequestBounds;
use routes::{ask, read, router_of};
use stop_field::StopBounds;

/// What one request may ask for.
#[derive(Debug, Clone, Copy)]
pub struct ApiLimits {
    /// `n`.
    pub choices: u32,
    /// Prompts in a list.
    pub prompts: usize,
    /// `logprobs`.
    pub top_log_probs: u32,
    /// Choices of all prompts together.
    pub total_choices: usize,
    /// Log-probabilities of all choices together.
    pub total_log_probs: usize,
    /// Stop strings.
    pub stop_strings: usize,
    /// Bytes of one of them.
    pub stop_bytes: usize,
    /// The body.
    pub body: BodyLimits,
    /// Longest time that a request waits for its first row.
    pub queue_timeout: Duration,
}

/// Everything the handlers need.
#[derive(Debug)]
pub struct Api {
    /// The only model.
    pub model: Arc<ServedModel>,
    /// The engine's door.
    pub engine: EngineHandle,
    /// What requests pass before they come to a route.
    pub entrance: Entrance,
    /// Who shares encoded sources.
    pub source_sharing: SourceSharing,
    /// Limits of a request.
    pub limits: ApiLimits,
    /// Counters shared with the engine thread.
    pub metrics: Metrics,
    /// What large bodies may take together.
    pub body_budget: Budget,
    /// What answers may take together.
    pub answer_budget: AnswerBudget,
    /// Threads that parse large bodies.
    pub parsers: JobPool,
    /// Threads that tokenise.
    pub pool: JobPool,
    /// The requests being answered.
    pub open_requests: OpenRequests,
    /// Time without a sign of life of the engine after which the server is not ready.
    pub stall_timeout: Duration,
}

/// All routes.
pub fn router(api: Arc<Api>) -> Router {
    let entrance = api.entrance.clone();
    let routes = [
        ("/v1/completions", ask(completions::completions)),
        ("/v1/models", read(models::list)),
        ("/health", read(health::health)),
        ("/ready", read(health::ready)),
        ("/ping", read(health::ready)),
        ("/metrics", read(health::metrics)),
        ("/version", read(health::version)),
    ];
    let routes = router_of(routes)
        .route("/v1/models/{*name}", read(models::one))
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(unknown_path);
    entrance.before(routes).with_state(api)
}

/// What probes may ask where there is no room for more.
pub fn probe_router(api: Arc<Api>) -> Router {
    let routes = [
        ("/health", read(health::health)),
        ("/ready", read(health::ready)),
        ("/ping", read(health::ready)),
        ("/metrics", read(health::metrics)),
    ];
    let entrance = api.entrance.clone();
    entrance.before(router_of(routes).fallback(health::no_room)).with_state(api)
}

/// What there is to say before the model is loaded: alive, and not ready for anything.
pub fn loading_router(entrance: &Entrance) -> Router {
    let routes = [
        ("/v1/completions", any(health::no_completion_yet)),
        ("/health", read(health::health)),
        ("/metrics", read(health::metrics)),
        ("/version", read(health::version)),
    ];
    let routes = router_of(routes).fallback(health::not_ready);
    entrance.before(routes).with_state(entrance.metrics.clone())
}

async fn unknown_path(State(api): State<Arc<Api>>, request: Request) -> ApiError {
    let error = ApiError::UnknownPath { method: request.method().to_string(), path: request.uri().path().to_owned() };
    api.entrance.refuse_unread(request, error).await
}

async fn method_not_allowed(State(api): State<Arc<Api>>, request: Request) -> ApiError {
    let (method, path) = (request.method().to_string(), request.uri().path().to_owned());
    api.entrance.refuse_unread(request, ApiError::MethodNotAllowed { method, path }).await
}

impl Api {
    fn request_bounds(&self) -> RequestBounds {
        let (limits, model, lengths) = (&self.limits, &self.model, self.engine.limits());
        let source_ids = IdBounds { vocab: model.source_vocab, most: lengths.source_tokens };
        RequestBounds {
            prompts: PromptBounds { prompts: limits.prompts, ids: source_ids },
            decoder_prompt: IdBounds { vocab: model.target_vocab, most: lengths.target_tokens + 1 },
            choices: limits.choices,
            top_log_probs: limits.top_log_probs,
            total_choices: limits.total_choices,
            stop: StopBounds { strings: limits.stop_strings, bytes: limits.stop_bytes },
            start_token: model.start_token,
            has_tokenizer: model.tokenizer.is_some(),
        }
    }
}
