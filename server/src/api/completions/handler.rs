//! `POST /v1/completions`: its handler, and what it reads a body as.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;

use super::parse::parse;
use crate::api::Api;
use crate::api::answers::{Blocks, CompletionForm};
use crate::api::generation::{Asked, RequestBounds, generate, render};
use crate::api::http::ApiError;
use crate::registry::ServedModel;

/// Answers a completion request, whole or as a stream.
pub async fn completions(State(api): State<Arc<Api>>, request: Request) -> Response {
    generate(&api, request, read).await
}

/// Answers with what a completion request would ask of the engine.
pub async fn render_completions(State(api): State<Arc<Api>>, request: Request) -> Response {
    render(&api, request, read).await
}

fn read(body: &[u8], bounds: &RequestBounds, model: &Arc<ServedModel>) -> Result<Asked, ApiError> {
    let call = parse(body, bounds)?;
    let blocks = Blocks {
        log_probs: call.log_probs.is_some(),
        token_ids: call.return_token_ids,
        tokens_as_ids: call.text_options.tokens_as_ids,
    };
    let form = CompletionForm::new(model, blocks, call.stream_options);
    Ok(Asked { call, form: Box::new(form) })
}
