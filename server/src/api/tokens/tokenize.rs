//! `POST /tokenize`: the ids of a text.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tokio::time::Instant;
use utoipa::ToSchema;

use super::asked::{AskedShape, receive};
use super::fields::{ADD_SPECIAL_TOKENS, PROMPT, RETURN_TOKEN_STRS, TOKENIZE_FIELDS};
use crate::api::Api;
use crate::api::arrival::in_time;
use crate::api::http::ApiError;
use crate::api::json::{TextFieldShape, read_body};
use crate::api::reading::ReadRequest;
use crate::api::texts::{TextField, check_text, on_tokenizing_threads, tokenizer};
use crate::registry::ServedModel;

/// The ids of a text.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Tokens)]
pub struct TokenizeMessage {
    /// Number of ids.
    count: usize,
    /// The longest source.
    max_model_len: usize,
    tokens: Vec<u32>,
    /// Texts of the ids; `null` unless they are asked for.
    token_strs: Option<Vec<String>>,
}

/// A text to be tokenised.
struct Text {
    text: String,
    add_special_tokens: bool,
    return_token_strs: bool,
}

/// Answers with the ids of a text.
pub async fn tokenize(State(api): State<Arc<Api>>, request: Request) -> Result<Response, ApiError> {
    let _open = api.open_requests.open();
    let ReadRequest { model, asked, held, .. } = receive(&api, request, parse).await?;
    let answered = on_tokenizing_threads(&model, move |model| {
        let _held = held;
        answer(&asked, model)
    });
    Ok(Json(in_time(&api, Instant::now(), answered).await??).into_response())
}

fn parse(body: &[u8], model: &ServedModel) -> Result<Text, ApiError> {
    let larger = TextFieldShape { param: PROMPT };
    let (fields, text) = read_body(body, AskedShape { known: &TOKENIZE_FIELDS, name: PROMPT, larger })?;
    let asked = Text {
        text: text.ok_or(ApiError::Missing { param: PROMPT })??,
        add_special_tokens: fields.flag(&ADD_SPECIAL_TOKENS)?,
        return_token_strs: fields.flag(&RETURN_TOKEN_STRS)?,
    };
    fields.finish()?;
    let tokenizer = tokenizer(model, PROMPT)?;
    check_text(&asked.text, tokenizer, model.limits().source_tokens, || PROMPT.to_owned())?;
    Ok(asked)
}

fn answer(asked: &Text, model: &ServedModel) -> Result<TokenizeMessage, ApiError> {
    let Text { text, add_special_tokens, return_token_strs } = asked;
    let field =
        TextField { param: PROMPT.to_owned(), add_special_tokens: *add_special_tokens, vocab: model.source_vocab };
    let tokens = field.ids(text, tokenizer(model, PROMPT)?)?;
    let token_strs = return_token_strs.then(|| tokens.iter().map(|&id| model.token_name(id)).collect());
    Ok(TokenizeMessage { count: tokens.len(), max_model_len: model.limits().source_tokens, tokens, token_strs })
}
