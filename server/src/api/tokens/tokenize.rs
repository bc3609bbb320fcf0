//! `POST /tokenize`: the ids of a text, or of a conversation's.

use std::sync::Arc;

use axum::extract::{Request, State};
use serde::Serialize;
use utoipa::ToSchema;

use super::asked::receive;
use super::fields::PROMPT;
use super::memory::ids_bytes;
use super::text_body::{Given, TextBody};
use crate::api::Api;
use crate::api::answers::Written;
use crate::api::generation::render_conversation;
use crate::api::http::ApiError;
use crate::api::reading::ReadRequest;
use crate::api::texts::{TextField, check_text, on_tokenizing_threads, tokenizer};
use crate::api::turn::{Deadline, Turn};
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

/// Answers with the ids of a text.
pub async fn tokenize(State(api): State<Arc<Api>>, request: Request) -> Result<Written, ApiError> {
    let _open = api.open_requests.open();
    let ReadRequest { model, asked, client, arrived, timeout, held } = receive(&api, request, parse).await?;
    let (budget, with_names) = (api.answer_budget.clone(), asked.return_token_strs);
    let reserve = move |text: &str| budget.reserve_up_to(ids_bytes(text.len(), with_names), client.peer);
    // A conversation has no length before it is rendered.
    let share = if let Given::Text(text) = &asked.given { Some(reserve(text)?) } else { None };
    let answered = on_tokenizing_threads(&model, move |model| {
        let _held = held;
        let add_special_tokens = asked.add_special_tokens.unwrap_or_else(|| asked.given.needs_frame(model));
        let param = asked.given.param();
        let text = asked.given.into_text(model)?;
        let share = share.map_or_else(|| reserve(&text), Ok)?;
        let field = TextField { param: param.to_owned(), add_special_tokens, vocab: model.source_vocab };
        let tokens = field.ids(&text, tokenizer(model, param)?)?;
        let json = serde_json::to_vec(&TokenizeMessage::new(tokens, with_names, model));
        Ok(Written { json: json.expect("ids and strings serialise"), share })
    });
    Turn::outside_queues(Deadline::soonest(arrived, timeout, None)).in_time(&api, answered).await?
}

fn parse(body: &[u8], api: &Api, model: &ServedModel) -> Result<TextBody, ApiError> {
    let asked = TextBody::read(body, api.limits.messages)?;
    let tokenizer = tokenizer(model, asked.given.param())?;
    if let Given::Text(text) = &asked.given {
        check_text(text, tokenizer, model.limits().source_tokens, || PROMPT.to_owned())?;
    }
    Ok(asked)
}

impl Given {
    /// Whether the tokenizer has to frame it: a template writes special tokens itself.
    fn needs_frame(&self, model: &ServedModel) -> bool {
        match self {
            Self::Text(_) => true,
            Self::Conversation(_) => model.chat.needs_frame(),
        }
    }

    fn into_text(self, model: &ServedModel) -> Result<String, ApiError> {
        match self {
            Self::Text(text) => Ok(text),
            Self::Conversation(conversation) => render_conversation(&conversation, model),
        }
    }
}

impl TokenizeMessage {
    fn new(tokens: Vec<u32>, with_names: bool, model: &ServedModel) -> Self {
        let token_strs = with_names.then(|| tokens.iter().map(|&id| model.token_name(id)).collect());
        Self { count: tokens.len(), max_model_len: model.limits().source_tokens, tokens, token_strs }
    }
}
