//! Messages of a conversation: a role and a text each.
//!
//! Read by the rooms of endpoints that chat. The endpoint's dialect says which further fields a message may have.

use serde::de::{MapAccess, SeqAccess};
use utoipa::openapi::{ObjectBuilder, Schema};

use super::message_content::{Content, ContentShape};
use super::neutral::NeutralFields;
use crate::api::http::ApiError;
use crate::api::json::{Brief, Fields, Known, LimitValues, Shape, Shaped, any_of, list_schema, skip_rest, text_schema};
use crate::chat_template::ChatMessage;

const ROLE: &str = "role";
const CONTENT: &str = "content";
const NAME: &str = "name";
/// Fields of a message in any dialect.
pub const MESSAGE_FIELDS: [&str; 3] = [ROLE, CONTENT, NAME];
/// Longest name of a participant, in bytes.
const NAME_BYTES: usize = 256;

/// The schema of a list of messages with parts of these types.
pub fn messages_schema(limits: &LimitValues, parts: &[&'static str]) -> Schema {
    let kind = text_schema().enum_values(Some(parts.iter().copied()));
    let part = ObjectBuilder::new().property("type", kind).property("text", text_schema());
    let part: Schema = part.required("type").required("text").into();
    let parts = list_schema(any_of([text_schema().into(), part.into()])).min_items(Some(1));
    let roles = text_schema().enum_values(Some(["system", "developer", "user", "assistant"]));
    let message = ObjectBuilder::new()
        .property(ROLE, roles)
        .property(CONTENT, any_of([text_schema().into(), parts.into()]))
        .property(NAME, text_schema().max_length(Some(NAME_BYTES)))
        .required(ROLE)
        .required(CONTENT);
    list_schema(message).min_items(Some(1)).max_items(Some(limits.count("messages"))).into()
}

/// How an endpoint writes messages.
#[derive(Debug)]
pub struct MessageDialect {
    /// Name of the list.
    pub param: &'static str,
    /// Names of a message's fields: [`MESSAGE_FIELDS`] and those of `neutral`.
    pub known: &'static Known,
    /// Fields of a message that are not supported.
    pub neutral: NeutralFields,
    /// Types of parts that are texts.
    pub parts: &'static [&'static str],
    /// Fields of such a part that say nothing about its text.
    pub part_extras: &'static [&'static str],
}

/// Reads a list of messages; nothing comes of `null`.
#[derive(Debug, Clone, Copy)]
pub struct MessagesShape {
    /// The endpoint's way of writing them.
    pub dialect: &'static MessageDialect,
    /// Most messages.
    pub most: usize,
}

impl Shape for MessagesShape {
    type Read = Option<Result<Vec<ChatMessage>, ApiError>>;

    fn list<'de, A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Read, A::Error> {
        let (param, limit) = (self.dialect.param, self.most);
        let mut read = Ok(Vec::new());
        let mut count = 0;
        while count < limit
            && let Ok(messages) = &mut read
        {
            let shape = MessageShape { dialect: self.dialect, place: format!("{param}[{count}]") };
            match list.next_element_seed(Shaped(shape))? {
                None => break,
                Some(Ok(message)) => messages.push(message),
                Some(Err(error)) => read = Err(error),
            }
            count += 1;
        }
        count += skip_rest(list)?;
        Ok(Some(match count {
            0 => Err(ApiError::Invalid { param: param.to_owned(), problem: "must not be an empty list" }),
            _ if count > limit => Err(ApiError::TooMany { param, count, unit: "messages", limit }),
            _ => read,
        }))
    }

    fn other(self, value: Brief) -> Self::Read {
        let (param, expected, found) = (self.dialect.param.to_owned(), "a list of messages", value.kind());
        (value != Brief::Null).then_some(Err(ApiError::WrongType { param, expected, found }))
    }
}

/// Reads one message.
struct MessageShape {
    dialect: &'static MessageDialect,
    /// Its name in errors, such as `messages[2]`.
    place: String,
}

impl Shape for MessageShape {
    type Read = Result<ChatMessage, ApiError>;

    fn object<'de, A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Read, A::Error> {
        let Self { dialect, place } = self;
        let mut fields = Fields::new(dialect.known, dialect.neutral.prefix);
        let mut content = Ok(None);
        while let Some(name) = fields.next_known(&mut object)? {
            if name == CONTENT {
                content =
                    object.next_value_seed(Shaped(ContentShape { dialect, place: format!("{place}.content") }))?;
            } else {
                fields.set(name, object.next_value()?);
            }
        }
        Ok(content.and_then(|content| message(&fields, content, dialect, &place)))
    }

    fn other(self, value: Brief) -> Self::Read {
        Err(ApiError::WrongType {
            param: self.place,
            expected: "an object with a role and a text",
            found: value.kind(),
        })
    }
}

/// The messages that were read for the field `param`, of a model that takes text or not.
///
/// # Errors
/// The error of their form, when there are none, or when the model takes no text.
pub fn given_messages(
    param: &'static str,
    read: Option<Result<Vec<ChatMessage>, ApiError>>,
    takes_text: bool,
) -> Result<Vec<ChatMessage>, ApiError> {
    let messages = read.ok_or(ApiError::Missing { param })??;
    if !takes_text {
        return Err(ApiError::NeedsTokenizer { param, instead: "give token ids to /v1/completions" });
    }
    Ok(messages)
}

fn message(
    fields: &Fields,
    content: Option<Content>,
    dialect: &MessageDialect,
    place: &str,
) -> Result<ChatMessage, ApiError> {
    let role = match fields.get(ROLE) {
        Some(Brief::Text { beginning, .. }) => role(beginning, place)?,
        other => {
            // A thing of another kind has no role, and a field that says so.
            dialect.neutral.check(fields)?;
            let found = other.map_or("missing", Brief::kind);
            return Err(ApiError::WrongType { param: format!("{place}.role"), expected: "a string", found });
        }
    };
    let name = match fields.get(NAME) {
        None => None,
        Some(Brief::Text { beginning, bytes }) if *bytes <= NAME_BYTES => Some(beginning.clone()),
        Some(Brief::Text { bytes, .. }) => {
            return Err(ApiError::TooLong { param: format!("{place}.name"), bytes: *bytes, limit: NAME_BYTES });
        }
        Some(other) => {
            let found = other.kind();
            return Err(ApiError::WrongType { param: format!("{place}.name"), expected: "a string", found });
        }
    };
    dialect.neutral.check(fields)?;
    fields.finish()?;
    let Some(Content(content)) = content else {
        return Err(ApiError::Invalid { param: format!("{place}.content"), problem: "is missing: give a text" });
    };
    Ok(ChatMessage { role: role.to_owned(), content, name })
}

/// The role as templates know it.
fn role(given: &str, place: &str) -> Result<&'static str, ApiError> {
    let problem = match given {
        // Models know the older name.
        "system" | "developer" => return Ok("system"),
        "user" => return Ok("user"),
        "assistant" => return Ok("assistant"),
        "tool" | "function" => "is a result of a tool, and this server calls no tools",
        _ => "must be system, developer, user or assistant",
    };
    Err(ApiError::Invalid { param: format!("{place}.role"), problem })
}
