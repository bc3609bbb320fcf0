//! `GET /v1/models` and `GET /v1/models/{id}`: the served models.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::Api;
use super::http::ApiError;
use crate::registry::ServedModel;

/// OpenAI's fields, then vLLM's, then ours.
#[derive(Serialize, ToSchema)]
#[schema(as = Model)]
pub struct ModelMessage<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    owned_by: &'static str,
    root: &'a str,
    parent: Option<&'a str>,
    /// The longest prompt, which is what clients cut their prompts to.
    max_model_len: usize,
    max_source_tokens: usize,
    max_target_tokens: usize,
    /// Other names of the model.
    aliases: &'a [String],
    /// Kinds of requests that it takes.
    capabilities: Vec<&'static str>,
    /// Defaults of requests that its `generation_config.json` sets, by the file's keys.
    defaults: Map<String, Value>,
}

/// The served models.
#[derive(Serialize, ToSchema)]
pub struct ModelList<'a> {
    object: &'static str,
    data: Vec<ModelMessage<'a>>,
}

impl<'a> From<&'a ServedModel> for ModelMessage<'a> {
    fn from(model: &'a ServedModel) -> Self {
        Self {
            id: &model.name,
            object: "model",
            created: model.created,
            owned_by: "encdec",
            root: &model.name,
            parent: None,
            max_model_len: model.limits().source_tokens,
            max_source_tokens: model.limits().source_tokens,
            max_target_tokens: model.limits().target_tokens,
            aliases: &model.aliases,
            capabilities: model.capabilities().names(),
            defaults: model.named_defaults.iter().map(|wish| (wish.key.clone(), wish.value.clone())).collect(),
        }
    }
}

/// The list.
pub async fn list(State(api): State<Arc<Api>>) -> Response {
    let data = api.models.iter().map(|model| ModelMessage::from(&**model)).collect();
    Json(ModelList { object: "list", data }).into_response()
}

/// One of the list. Names may hold slashes, and one more may stand at the end of any path.
pub async fn one(
    State(api): State<Arc<Api>>,
    name: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Result<Response, ApiError> {
    // A name that is no text is as unknown as any other, and is given back as it came.
    let name = name.map_or_else(|_| uri.path().trim_start_matches("/v1/models/").to_owned(), |Path(name)| name);
    let with_slash = || api.models.find(name.strip_suffix('/')?);
    match api.models.find(&name).or_else(with_slash) {
        Some(model) => Ok(Json(ModelMessage::from(&**model)).into_response()),
        None => Err(ApiError::UnknownModel { asked: name, served: api.models.names() }),
    }
}
