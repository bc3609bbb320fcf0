//! The order in which a request passes the entrance.

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};

use super::cross_origin::guard;
use super::entrance::Entrance;
use super::key_check::check_key;
use super::request_name::name_request;
use super::visit::note;

/// Puts routes behind the entrance.
pub fn behind<S: Clone + Send + Sync + 'static>(entrance: &Entrance, routes: Router<S>) -> Router<S> {
    behind_without_keys(entrance, routes.layer(from_fn_with_state(entrance.clone(), check_key)))
}

/// Puts routes that need no key behind the rest of the entrance.
pub fn behind_without_keys<S: Clone + Send + Sync + 'static>(entrance: &Entrance, routes: Router<S>) -> Router<S> {
    // The last layer is the first that a request comes to.
    routes
        .layer(from_fn_with_state(entrance.clone(), guard))
        .layer(from_fn_with_state(entrance.clone(), note))
        .layer(from_fn(name_request))
}
