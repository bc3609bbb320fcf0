//! Which path is answered by which handler: of a server that serves, of one that is still loading, and for probes.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::routing::any;

use super::http::{
    ApiError, Entrance, Route, ask, behind, behind_without_keys, nothing, read, read_and_ask, read_and_delete,
    router_of,
};
use super::page::with_page;
use super::state::Api;
use super::{batches, chat, completions, encodings, health, load, models, openapi, responses, scoring, tokens};
use crate::client_connection::Routes;

/// All routes of a server that serves.
pub fn router(api: Arc<Api>) -> Router {
    let entrance = api.entrance.clone();
    let routes = if entrance.serves_page { with_page(router_of(routes())) } else { router_of(routes()) };
    let routes = routes
        .route("/v1/models/{*name}", read(models::one))
        .route("/v1/responses/{*name}", nothing(responses::nothing_stored))
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(unknown_path);
    behind(&entrance, routes).with_state(api)
}

/// The paths of a server that serves, but for those with a part that varies.
fn routes() -> Vec<Route<Arc<Api>>> {
    let own = [
        ("/v1/models", read(models::list)),
        ("/tokenize", ask(tokens::tokenize)),
        ("/detokenize", ask(tokens::detokenize)),
        ("/tokenizer_info", read(tokens::tokenizer_info)),
        ("/load", read(load::load)),
        ("/version", read(health::version)),
        ("/openapi.json", read(openapi::openapi())),
    ];
    model_requests().into_iter().chain(own).chain(kept()).chain(probes()).collect()
}

/// The paths of files and batches.
fn kept() -> [Route<Arc<Api>>; 6] {
    [
        ("/v1/files", read_and_ask(batches::list_files, batches::upload)),
        ("/v1/files/{file_id}", read_and_delete(batches::retrieve_file, batches::delete)),
        ("/v1/files/{file_id}/content", read(batches::content)),
        ("/v1/batches", read_and_ask(batches::list_batches, batches::create)),
        ("/v1/batches/{batch_id}", read(batches::retrieve_batch)),
        ("/v1/batches/{batch_id}/cancel", ask(batches::cancel)),
    ]
}

/// The paths of requests for models, which are counted as such.
fn model_requests() -> Vec<Route<Arc<Api>>> {
    vec![
        ("/v1/chat/completions", ask(chat::chat_completions)),
        ("/v1/completions", ask(completions::completions)),
        ("/v1/chat/completions/render", ask(chat::render_chat)),
        ("/v1/completions/render", ask(completions::render_completions)),
        ("/v1/responses", ask(responses::responses)),
        ("/v1/embeddings", ask(encodings::answer::<encodings::Embeddings>)),
        ("/v1/encode", ask(encodings::answer::<encodings::Encode>)),
        ("/v1/classify", ask(encodings::answer::<encodings::Classify>)),
        ("/classify", ask(encodings::answer::<encodings::Classify>)),
        ("/pooling", ask(encodings::answer::<encodings::Pooling>)),
        ("/v1/score", ask(scoring::score)),
        ("/v1/rerank", ask(scoring::rerank)),
        ("/v2/rerank", ask(scoring::rerank)),
        ("/rerank", ask(scoring::rerank)),
    ]
}

/// Routes that a batch may ask, of requests that come from inside: they need no key.
pub fn batch_router(api: Arc<Api>) -> Router {
    let entrance = api.entrance.clone();
    let texts = [("/tokenize", ask(tokens::tokenize)), ("/detokenize", ask(tokens::detokenize))];
    let routes = router_of(model_requests().into_iter().chain(texts));
    let routes = routes.method_not_allowed_fallback(method_not_allowed).fallback(unknown_path);
    behind_without_keys(&entrance, routes).with_state(api)
}

/// Routes of connections that are kept free for probes.
pub fn probe_router(api: Arc<Api>) -> Router {
    let entrance = api.entrance.clone();
    behind(&entrance, router_of(probes()).fallback(health::no_room)).with_state(api)
}

/// Routes of the second address, which a network of its own protects: nobody needs a key there.
pub fn admin_router(api: Arc<Api>) -> Router {
    let entrance = api.entrance.for_probes();
    let routes = router_of(probes()).method_not_allowed_fallback(method_not_allowed).fallback(unknown_path);
    behind_without_keys(&entrance, routes).with_state(api)
}

fn probes() -> [Route<Arc<Api>>; 4] {
    [
        ("/health", read(health::health)),
        ("/ready", read(health::ready)),
        ("/ping", read(health::ready)),
        ("/metrics", read(health::metrics)),
    ]
}

/// Routes of a server whose models are still loading: it is alive, and not ready for anything.
pub fn loading_routes(entrance: &Entrance) -> Routes {
    let early = model_requests().into_iter().map(|(path, _)| (path, any(health::no_model_yet)));
    let own = [
        ("/health", read(health::health)),
        ("/ready", read(health::not_ready)),
        ("/ping", read(health::not_ready)),
        ("/metrics", read(health::metrics)),
        ("/version", read(health::version)),
    ];
    let routes = early.chain(own);
    let routes = if entrance.serves_page { with_page(router_of(routes)) } else { router_of(routes) };
    let routes = routes.fallback(health::not_ready);
    let all = behind(entrance, routes.clone()).with_state(entrance.clone());
    let admin = behind_without_keys(&entrance.for_probes(), routes).with_state(entrance.clone());
    Routes { all: all.clone(), probes: all, admin }
}

async fn unknown_path(State(api): State<Arc<Api>>, request: Request) -> ApiError {
    let error = ApiError::UnknownPath { method: request.method().to_string(), path: request.uri().path().to_owned() };
    api.entrance.refuse_unread(request, error).await
}

async fn method_not_allowed(State(api): State<Arc<Api>>, request: Request) -> ApiError {
    let (method, path) = (request.method().to_string(), request.uri().path().to_owned());
    api.entrance.refuse_unread(request, ApiError::MethodNotAllowed { method, path }).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_access_log_knows_all_probes() {
        assert_eq!(probes().map(|(path, _)| path), crate::api::http::PROBES);
    }

    #[test]
    fn a_batch_may_name_each_path_that_its_router_has() {
        let known: Vec<_> = model_requests().into_iter().map(|(path, _)| path).collect();
        let missing: Vec<_> = known.iter().filter(|path| !batches::ENDPOINTS.contains(path)).collect();
        assert_eq!(missing, [&"/v1/chat/completions/render", &"/v1/completions/render"]);
        assert!(batches::ENDPOINTS.iter().all(|path| known.contains(path)));
    }

    #[test]
    fn every_path_is_described_and_documented() {
        let mut paths: Vec<_> = routes().into_iter().map(|(path, _)| path.to_owned()).collect();
        paths.push("/v1/models/{name}".to_owned());
        let mut described: Vec<_> = openapi::operations().iter().map(|one| one.path.to_owned()).collect();
        paths.sort();
        described.sort();
        described.dedup();
        assert_eq!(paths, described, "openapi/operations.rs");
        let page = include_str!("../../../docs/api.md");
        let table = page.split_once("\n## Paths\n").unwrap().1.split("\n## ").next().unwrap();
        for path in &paths {
            let shown = path.replace("{name}", "NAME").replace("{file_id}", "ID").replace("{batch_id}", "ID");
            assert!(table.contains(&format!(" {shown}`")), "docs/api.md, Paths: {shown}");
        }
    }
}
