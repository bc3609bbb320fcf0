//! The body of `POST /tokenize`: a text, or a conversation that becomes one.
//!
//! Used by `tokenize`. Pure: no template, no tokenizer.

use serde::de::MapAccess;

use super::fields::{ADD_SPECIAL_TOKENS, PROMPT, RETURN_TOKEN_STRS, TOKENIZE_FIELDS, TOKENIZE_NEUTRAL};
use crate::api::chat::{DIALECT, MESSAGES, Turn, read_turn};
use crate::api::fields::{MessagesShape, TEMPLATE_VARIABLES, TemplateVariablesShape};
use crate::api::http::ApiError;
use crate::api::json::{Brief, Fields, Shape, Shaped, TextFieldShape, read_body};
use crate::chat_template::{ChatMessage, Conversation, TemplateValue};

/// A text or a conversation to be tokenised.
#[derive(Debug, Clone, PartialEq)]
pub enum Given {
    /// A text.
    Text(String),
    /// A conversation.
    Conversation(Conversation),
}

/// A body that was read.
#[derive(Debug, Clone, PartialEq)]
pub struct TextBody {
    /// The text or conversation.
    pub given: Given,
    /// Whether the tokenizer frames it; as it needs it when absent.
    pub add_special_tokens: Option<bool>,
    /// Whether the texts of the tokens are wanted.
    pub return_token_strs: bool,
}

impl TextBody {
    /// Reads a body with at most so many messages.
    ///
    /// # Errors
    /// The [`ApiError`] of the first rule that it breaks; invalid JSON is reported first.
    pub fn read(body: &[u8], messages: usize) -> Result<Self, ApiError> {
        let Draft { fields, text, messages, variables } = read_body(body, BodyShape { messages })?;
        let given = match (text.transpose()?, messages.transpose()?) {
            (None, None) => return Err(ApiError::Missing { param: PROMPT }),
            (Some(_), None) if variables.is_some() => return Err(only_with_messages(TEMPLATE_VARIABLES)),
            (Some(text), None) => Given::Text(text),
            (None, Some(messages)) => Given::Conversation(conversation(&fields, messages, variables.transpose()?)?),
            (Some(_), Some(_)) => {
                let problem = "and 'prompt' exclude each other: the template makes the text of the messages";
                return Err(ApiError::Invalid { param: MESSAGES.to_owned(), problem });
            }
        };
        let read = Self {
            given,
            add_special_tokens: fields.boolean(ADD_SPECIAL_TOKENS.name)?,
            return_token_strs: fields.flag(&RETURN_TOKEN_STRS)?,
        };
        check_text_alone(&fields, &read.given)?;
        TOKENIZE_NEUTRAL.check(&fields, 1)?;
        fields.finish()?;
        Ok(read)
    }
}

/// The conversation whose answer is asked for.
fn conversation(
    fields: &Fields,
    mut messages: Vec<ChatMessage>,
    variables: Option<Vec<(String, TemplateValue)>>,
) -> Result<Conversation, ApiError> {
    let Turn { add_generation_prompt, .. } = read_turn(fields, &mut messages, false)?;
    let variables = variables.unwrap_or_default();
    Ok(Conversation { param: MESSAGES, messages, add_generation_prompt, variables })
}

/// Refuses fields that say something about messages where there are none.
fn check_text_alone(fields: &Fields, given: &Given) -> Result<(), ApiError> {
    const OF_MESSAGES: [&str; 2] = ["add_generation_prompt", "continue_final_message"];
    let Given::Text(_) = given else { return Ok(()) };
    let asks = |name: &&str| fields.get(name).is_some_and(|value| *value != Brief::Boolean(false));
    OF_MESSAGES.into_iter().find(asks).map_or(Ok(()), |name| Err(only_with_messages(name)))
}

fn only_with_messages(name: &str) -> ApiError {
    ApiError::Invalid { param: name.to_owned(), problem: "is only allowed with 'messages'" }
}

struct Draft {
    fields: Fields,
    text: Option<Result<String, ApiError>>,
    messages: Option<Result<Vec<ChatMessage>, ApiError>>,
    variables: Option<Result<Vec<(String, TemplateValue)>, ApiError>>,
}

struct BodyShape {
    messages: usize,
}

impl Shape for BodyShape {
    type Read = Result<Draft, ApiError>;

    fn object<'de, A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Read, A::Error> {
        let mut draft =
            Draft { fields: Fields::new(&TOKENIZE_FIELDS, ""), text: None, messages: None, variables: None };
        while let Some(name) = draft.fields.next_known(&mut object)? {
            match name {
                PROMPT => draft.text = object.next_value_seed(Shaped(TextFieldShape { param: PROMPT }))?,
                MESSAGES => {
                    let shape = MessagesShape { dialect: &DIALECT, most: self.messages };
                    draft.messages = object.next_value_seed(Shaped(shape))?;
                }
                TEMPLATE_VARIABLES => draft.variables = object.next_value_seed(Shaped(TemplateVariablesShape))?,
                scalar => draft.fields.set(scalar, object.next_value()?),
            }
        }
        Ok(Ok(draft))
    }

    fn other(self, value: Brief) -> Self::Read {
        Err(ApiError::NotAnObject { found: value.kind() })
    }
}
