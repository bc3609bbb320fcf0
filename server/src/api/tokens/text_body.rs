//! The body of `POST /tokenize`: a text, or a conversation that becomes one.
//!
//! Used by `tokenize`. Pure: no template, no tokenizer.

use serde::de::MapAccess;

use super::fields::{
    ADD_SPECIAL_TOKENS, CONTINUE_FINAL_MESSAGE, PROMPT, RETURN_TOKEN_STRS, TOKENIZE_FIELDS, TOKENIZE_NEUTRAL,
};
use crate::api::chat::{ADD_GENERATION_PROMPT, DIALECT, MESSAGES, Turn, read_turn};
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

impl Given {
    /// The field that it was given in.
    pub const fn param(&self) -> &'static str {
        match self {
            Self::Text(_) => PROMPT,
            Self::Conversation(_) => MESSAGES,
        }
    }
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
            (Some(text), None) => {
                check_text_alone(&fields, variables.transpose()?.unwrap_or_default())?;
                Given::Text(text)
            }
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
        TOKENIZE_NEUTRAL.check(&fields)?;
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

/// Refuses fields that say something about messages where there are none, with other values than those that change
/// nothing: a text has no turns.
fn check_text_alone(fields: &Fields, variables: Vec<(String, TemplateValue)>) -> Result<(), ApiError> {
    fields.flag(&ADD_GENERATION_PROMPT)?;
    if fields.flag(&CONTINUE_FINAL_MESSAGE)? {
        return Err(only_with_messages(CONTINUE_FINAL_MESSAGE.name));
    }
    if variables.is_empty() { Ok(()) } else { Err(only_with_messages(TEMPLATE_VARIABLES)) }
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
