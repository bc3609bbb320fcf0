//! `POST /v1/responses`: its handler, and what it reads a body as.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;

use super::parse::{ResponseCall, parse};
use crate::api::Api;
use crate::api::answers::ResponseForm;
use crate::api::generation::{Asked, RequestBounds, generate};
use crate::api::http::ApiError;
use crate::registry::ServedModel;

/// Answers with a response, whole or as a stream of its events.
pub async fn responses(State(api): State<Arc<Api>>, request: Request) -> Response {
    generate(&api, request, read).await
}

/// Answers requests for a response of before, and for what else OpenAI has below this path.
pub async fn nothing_stored(State(api): State<Arc<Api>>, request: Request) -> ApiError {
    let error = match request.uri().path().trim_end_matches('/') {
        "/v1/responses/input_tokens" => ApiError::NotServed {
            path: "/v1/responses/input_tokens",
            instead: "POST /tokenize with the conversation as 'messages' counts its tokens",
        },
        "/v1/responses/compact" => ApiError::NotServed {
            path: "/v1/responses/compact",
            instead: "send a shorter conversation in 'input' of POST /v1/responses",
        },
        _ => ApiError::NothingStored,
    };
    api.entrance.refuse_unread(request, error).await
}

/// Reads the body of a request for a response.
///
/// # Errors
/// The [`ApiError`] of the first rule that it breaks.
pub fn read(body: &[u8], bounds: &RequestBounds, model: &Arc<ServedModel>) -> Result<Asked, ApiError> {
    let ResponseCall { call, settings } = parse(body, bounds)?;
    let form = ResponseForm::new(model, settings, call.stream).naming_tokens(call.text_options.tokens_as_ids);
    Ok(Asked { call, form: Box::new(form) })
}
