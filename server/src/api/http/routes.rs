//! Paths as they are given to the router: with and without a slash at their end, and with an answer to OPTIONS.
//!
//! Used by `router`. It knows methods, no handlers.

use axum::Router;
use axum::handler::Handler;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::{MethodRouter, any, get, post};

/// A path with its methods.
pub type Route<S> = (&'static str, MethodRouter<S>);

/// Methods of a path for reading; HEAD is answered as GET, without a body.
pub fn read<H: Handler<T, S>, T: 'static, S: Clone + Send + Sync + 'static>(handler: H) -> MethodRouter<S> {
    get(handler).options(|| allowed("GET,HEAD,OPTIONS"))
}

/// Methods of a path for requests with a body.
pub fn ask<H: Handler<T, S>, T: 'static, S: Clone + Send + Sync + 'static>(handler: H) -> MethodRouter<S> {
    post(handler).options(|| allowed("POST,OPTIONS"))
}

/// Methods of a path whose things can be read and added to.
pub fn read_and_ask<R, Q, T, U, S>(reader: R, asker: Q) -> MethodRouter<S>
where
    R: Handler<T, S>,
    Q: Handler<U, S>,
    T: 'static,
    U: 'static,
    S: Clone + Send + Sync + 'static,
{
    get(reader).post(asker).options(|| allowed("GET,HEAD,POST,OPTIONS"))
}

/// Methods of a path whose thing can be read and deleted.
pub fn read_and_delete<R, D, T, U, S>(reader: R, deleter: D) -> MethodRouter<S>
where
    R: Handler<T, S>,
    D: Handler<U, S>,
    T: 'static,
    U: 'static,
    S: Clone + Send + Sync + 'static,
{
    get(reader).delete(deleter).options(|| allowed("GET,HEAD,DELETE,OPTIONS"))
}

/// Methods of a path under which there is nothing: all of them lead to the handler.
pub fn nothing<H: Handler<T, S>, T: 'static, S: Clone + Send + Sync + 'static>(handler: H) -> MethodRouter<S> {
    any(handler).options(|| allowed("OPTIONS"))
}

/// A router for `routes`, each of which may be asked for with a slash at its end as well.
pub fn router_of<S: Clone + Send + Sync + 'static>(routes: impl IntoIterator<Item = Route<S>>) -> Router<S> {
    routes.into_iter().fold(Router::new(), |router, (path, methods)| {
        router.route(path, methods.clone()).route(&format!("{path}/"), methods)
    })
}

async fn allowed(methods: &'static str) -> impl IntoResponse {
    (StatusCode::NO_CONTENT, [(header::ALLOW, HeaderValue::from_static(methods))])
}
