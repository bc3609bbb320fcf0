//! The answer of `GET /openapi.json`.

use std::future::{Ready, ready};
use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};

use super::description::Description;
use super::document::{ServerFacts, document};
use super::operations::operations;
use crate::api::Api;

/// The handler that describes a server, with its own limits.
pub fn openapi() -> impl Fn(State<Arc<Api>>) -> Ready<Response> + Clone + Send + Sync + 'static {
    let description = Description::default();
    move |State(api)| {
        let text = description.text(|| written(&api));
        let kind = HeaderValue::from_static("application/json");
        ready(([(header::CONTENT_TYPE, kind)], text).into_response())
    }
}

fn written(api: &Api) -> Vec<u8> {
    let needs_key = api.entrance.keys.keys.present().is_some();
    let facts = ServerFacts { limits: api.limit_values(), needs_key };
    serde_json::to_vec(&document(&operations(), &facts)).expect("a description serialises")
}
