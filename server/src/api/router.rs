//! Which path is answered by which handler: of a server that serves, of one that is still loading, and for probes.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::routing::any;

use super::http::{ApiError, Entrance, ask, behind, read, router_of};
use super::page::with_page;
use super::state::Api;
use super::{completions, encodings, health, models};

/// All routes of a server that serves.
pub fn router(api: Arc<Api>) -> Router {
    let entrance = api.entrance.clone();
    let routes = [
        ("/v1/completions", ask(completions::completions)),
        ("/v1/embeddings", ask(encodings::answer::<encodings::Embeddings>)),
        ("/v1/encode", ask(encodings::answer::<encodings::Encode>)),
        ("/v1/classify", ask(encodings::answer::<encodings::Classify>)),
        ("/classify", ask(encodings::answer::<encodings::Classify>)),
        ("/pooling", ask(encodings::answer::<encodings::Pooling>)),
        ("/v1/models", read(models::list)),
        ("/health", read(health::health)),
        ("/ready", read(health::ready)),
        ("/ping", read(health::ready)),
        ("/metrics", read(health::metrics)),
        ("/version", read(health::version)),
    ];
    let routes = if entrance.serves_page { with_page(router_of(routes)) } else { router_of(routes) };
    let routes = routes
        .route("/v1/models/{*name}", read(models::one))
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(unknown_path);
    behind(&entrance, routes).with_state(api)
}

/// Routes of connections that are kept free for probes.
pub fn probe_router(api: Arc<Api>) -> Router {
    let routes = [
        ("/health", read(health::health)),
        ("/ready", read(health::ready)),
        ("/ping", read(health::ready)),
        ("/metrics", read(health::metrics)),
    ];
    let entrance = api.entrance.clone();
    behind(&entrance, router_of(routes).fallback(health::no_room)).with_state(api)
}

/// Routes of a server whose models are still loading: it is alive, and not ready for anything.
pub fn loading_router(entrance: &Entrance) -> Router {
    let routes = [
        ("/v1/completions", any(health::no_completion_yet)),
        ("/health", read(health::health)),
        ("/metrics", read(health::metrics)),
        ("/version", read(health::version)),
    ];
    let routes = if entrance.serves_page { with_page(router_of(routes)) } else { router_of(routes) };
    let routes = routes.fallback(health::not_ready);
    behind(entrance, routes).with_state(entrance.metrics.clone())
}

async fn unknown_path(State(api): State<Arc<Api>>, request: Request) -> ApiError {
    let error = ApiError::UnknownPath { method: request.method().to_string(), path: request.uri().path().to_owned() };
    api.entrance.refuse_unread(request, error).await
}

async fn method_not_allowed(State(api): State<Arc<Api>>, request: Request) -> ApiError {
    let (method, path) = (request.method().to_string(), request.uri().path().to_owned());
    api.entrance.refuse_unread(request, ApiError::MethodNotAllowed { method, path }).await
}
