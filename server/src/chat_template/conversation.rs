//! A conversation: the messages that a template turns into text.

use minijinja::Value;

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChatMessage {
    /// `system`, `user` or `assistant`.
    pub role: String,
    /// The text.
    pub content: String,
    /// Name of the participant.
    pub name: Option<String>,
}

/// A value that a request gives to the template.
#[derive(Debug, Clone, PartialEq)]
pub enum TemplateValue {
    /// A truth value.
    Boolean(bool),
    /// A whole number.
    Integer(i64),
    /// Any other number.
    Number(f64),
    /// A text.
    Text(String),
}

impl From<&TemplateValue> for Value {
    fn from(value: &TemplateValue) -> Self {
        match value {
            TemplateValue::Boolean(value) => Self::from(*value),
            TemplateValue::Integer(value) => Self::from(*value),
            TemplateValue::Number(value) => Self::from(*value),
            TemplateValue::Text(value) => Self::from(value.as_str()),
        }
    }
}

/// A conversation that is to be continued.
#[derive(Debug, Clone, PartialEq)]
pub struct Conversation {
    /// Field of the request that it was given in.
    pub param: &'static str,
    /// The messages, in order.
    pub messages: Vec<ChatMessage>,
    /// Whether the text ends with the beginning of the assistant's turn.
    pub add_generation_prompt: bool,
    /// Further variables of the template.
    pub variables: Vec<(String, TemplateValue)>,
}
