//! `input`: a message of the user, or the messages of a conversation as OpenAI's items.
//!
//! Read by `draft`.

use std::sync::LazyLock;

use serde::de::SeqAccess;
use utoipa::openapi::Schema;

use super::fields::INPUT;
use super::neutral::ITEM;
use crate::api::fields::{MESSAGE_FIELDS, MessageDialect, MessagesShape, messages_schema};
use crate::api::http::ApiError;
use crate::api::json::{Brief, Known, LimitValues, Shape, any_of, text_schema};
use crate::chat_template::ChatMessage;

const PARTS: [&str; 2] = ["input_text", "output_text"];

static KNOWN_IN_ITEM: LazyLock<Known> = LazyLock::new(|| MESSAGE_FIELDS.into_iter().chain(ITEM.names()).collect());
static DIALECT: LazyLock<MessageDialect> = LazyLock::new(|| MessageDialect {
    param: INPUT,
    known: &KNOWN_IN_ITEM,
    neutral: ITEM,
    parts: &PARTS,
    // Parts of an answer may come back as they were sent.
    part_extras: &["annotations", "logprobs", "prompt_cache_breakpoint"],
});

/// The schema of both forms.
pub fn input_schema(limits: &LimitValues) -> Schema {
    any_of([text_schema().into(), messages_schema(limits, &PARTS).into()])
}

/// Reads a conversation in either form; nothing comes of `null`.
pub struct InputShape {
    /// Most messages.
    pub most: usize,
}

impl InputShape {
    fn items(self) -> MessagesShape {
        MessagesShape { dialect: &DIALECT, most: self.most }
    }
}

impl Shape for InputShape {
    type Read = Option<Result<Vec<ChatMessage>, ApiError>>;

    fn text(self, text: &str) -> Self::Read {
        Some(Ok(vec![ChatMessage { role: "user".to_owned(), content: text.to_owned(), name: None }]))
    }

    fn list<'de, A: SeqAccess<'de>>(self, list: A) -> Result<Self::Read, A::Error> {
        self.items().list(list)
    }

    fn other(self, value: Brief) -> Self::Read {
        let (param, expected, found) = (INPUT.to_owned(), "a string or a list of messages", value.kind());
        (value != Brief::Null).then_some(Err(ApiError::WrongType { param, expected, found }))
    }
}
