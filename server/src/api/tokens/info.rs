//! `GET /tokenizer_info`: what clients that keep a tokenizer of their own want to know of the server's.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::Api;
use crate::api::http::ApiError;
use crate::api::json::shortened;
use crate::registry::ServedModel;

/// Facts of a tokenizer, by the names of `tokenizer_config.json`.
#[derive(Debug, Serialize, ToSchema)]
pub struct TokenizerInfo {
    tokenizer_class: String,
    /// Name of the model.
    model: String,
    vocab_size: usize,
    /// The longest prompt, in tokens.
    model_max_length: usize,
    bos_token: Option<String>,
    eos_token: Option<String>,
    pad_token: Option<String>,
    unk_token: Option<String>,
    /// Whether a text is framed by a start token unless that is declined.
    add_bos_token: bool,
    add_eos_token: bool,
}

/// The question.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    model: Option<String>,
}

/// Answers with the facts of a model's tokenizer.
pub async fn tokenizer_info(
    State(api): State<Arc<Api>>,
    asked: Result<Query<Asked>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, ApiError> {
    let problem = "is the only parameter that this path takes, at most once";
    let Query(asked) = asked.map_err(|_| ApiError::Invalid { param: "model".to_owned(), problem })?;
    let unknown = |name: &str| ApiError::UnknownModel { asked: shortened(name), served: api.models.names() };
    let model = match &asked.model {
        None => api.models.default_model(),
        Some(name) => api.models.find(name).ok_or_else(|| unknown(name))?,
    };
    Ok(Json(TokenizerInfo::of(model)?).into_response())
}

impl TokenizerInfo {
    fn of(model: &ServedModel) -> Result<Self, ApiError> {
        let instead = "there is nothing to tell";
        let tokenizer = model.tokenizer.as_ref().ok_or(ApiError::NeedsTokenizer { param: "model", instead })?;
        let special = |name: &str| {
            let id = tokenizer.id_of(name).filter(|&id| tokenizer.is_special(id));
            id.map(|id| model.token_name(id))
        };
        let (before, after) = tokenizer.around();
        Ok(Self {
            tokenizer_class: "GemmaTokenizerFast".to_owned(),
            model: model.name.clone(),
            vocab_size: tokenizer.vocab_size(),
            model_max_length: model.limits().source_tokens,
            bos_token: Some(model.token_name(model.start_token)),
            eos_token: special("<eos>"),
            pad_token: special("<pad>"),
            unk_token: special("<unk>"),
            add_bos_token: !before.is_empty(),
            add_eos_token: !after.is_empty(),
        })
    }
}
