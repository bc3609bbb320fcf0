//! `POST /detokenize`: the text of ids.

use std::sync::Arc;

use axum::extract::{Request, State};
use model::Tokenizer;
use serde::Serialize;
use serde::de::SeqAccess;
use utoipa::ToSchema;

use super::asked::{AskedShape, receive};
use super::fields::{DETOKENIZE_FIELDS, TOKENS};
use super::memory::text_bytes;
use crate::api::Api;
use crate::api::answers::Written;
use crate::api::fields::{IdBounds, IdReader, Ids};
use crate::api::http::ApiError;
use crate::api::json::{Brief, Shape, read_body};
use crate::api::reading::ReadRequest;
use crate::api::texts::on_tokenizing_threads;
use crate::api::turn::{Deadline, Turn};
use crate::registry::ServedModel;

/// The text of ids.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Text)]
pub struct DetokenizeMessage {
    /// The text, without special tokens.
    prompt: String,
}

/// Answers with the text of ids.
pub async fn detokenize(State(api): State<Arc<Api>>, request: Request) -> Result<Written, ApiError> {
    let _open = api.open_requests.open();
    let ReadRequest { model, asked, client, arrived, timeout, held } = receive(&api, request, parse).await?;
    let share = api.answer_budget.reserve_up_to(text_bytes(piece_bytes(&asked, &model)), client.peer)?;
    let answered = on_tokenizing_threads(&model, move |model| {
        let _held = held;
        let message = DetokenizeMessage { prompt: text_tokenizer(model)?.decode(&asked) };
        Ok(Written { json: serde_json::to_vec(&message).expect("a string serialises"), share })
    });
    Turn::outside_queues(Deadline::soonest(arrived, timeout, None)).in_time(&api, answered).await?
}

/// Bytes of all pieces.
fn piece_bytes(ids: &[u32], model: &ServedModel) -> usize {
    let Some(tokenizer) = &model.tokenizer else { return 0 };
    ids.iter().filter_map(|&id| tokenizer.piece_bytes(id)).map(<[u8]>::len).sum()
}

fn text_tokenizer(model: &ServedModel) -> Result<&Tokenizer, ApiError> {
    let instead = "there is no text to give";
    model.tokenizer.as_deref().ok_or(ApiError::NeedsTokenizer { param: TOKENS, instead })
}

fn parse(body: &[u8], _: &Api, model: &ServedModel) -> Result<Vec<u32>, ApiError> {
    let limits = model.limits();
    let bounds = IdBounds {
        vocab: model.source_vocab.max(model.target_vocab),
        most: limits.source_tokens.max(limits.target_tokens),
    };
    let shape = AskedShape { known: &DETOKENIZE_FIELDS, name: TOKENS, larger: IdsShape(bounds) };
    let (fields, ids) = read_body(body, shape)?;
    let Ids { kept, count } = ids.ok_or(ApiError::Missing { param: TOKENS })??;
    fields.finish()?;
    if count > bounds.most {
        return Err(ApiError::TooMany { param: TOKENS, count, unit: "ids", limit: bounds.most });
    }
    text_tokenizer(model)?;
    Ok(kept)
}

/// Reads a list of ids; nothing comes of `null`.
#[derive(Clone, Copy)]
struct IdsShape(IdBounds);

impl Shape for IdsShape {
    type Read = Option<Result<Ids, ApiError>>;

    fn list<'de, A: SeqAccess<'de>>(self, list: A) -> Result<Self::Read, A::Error> {
        IdReader::new(TOKENS.to_owned(), self.0).read(list).map(Some)
    }

    fn other(self, value: Brief) -> Self::Read {
        let (expected, found) = ("a list of token ids", value.kind());
        (value != Brief::Null).then(|| Err(ApiError::WrongType { param: TOKENS.to_owned(), expected, found }))
    }
}
