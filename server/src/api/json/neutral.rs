//! Values under which a field that is not supported changes nothing.
//!
//! Declared with fields that OpenAI or vLLM know and this server does not support.

use serde_json::{Value, json};

use super::brief::Brief;

/// Values under which an unsupported field changes nothing. `null` is always one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Neutral {
    /// The field says nothing about the answer.
    Anything,
    /// This number.
    Number(f64),
    /// This truth value.
    Boolean(bool),
    /// `[]`.
    EmptyList,
    /// This text.
    Text(&'static str),
    /// This text; errors give the reason why nothing else is taken.
    TextBecause(&'static str, &'static str),
    /// A list of this text alone.
    ListOf(&'static str),
    /// Only `null`.
    Null,
    /// Only `null`; errors give the reason.
    Never(&'static str),
    /// `[]`; errors give the reason why it must be empty.
    EmptyBecause(&'static str),
}

impl Neutral {
    /// Whether `value` changes nothing.
    pub fn accepts(self, value: &Brief) -> bool {
        match self {
            Self::Anything => true,
            Self::Number(neutral) => value.number() == Some(neutral),
            Self::Boolean(neutral) => *value == Brief::Boolean(neutral),
            Self::EmptyList | Self::EmptyBecause(_) => matches!(value, Brief::List { is_empty: true, .. }),
            Self::ListOf(text) => matches!(value, Brief::List { only_text: Some(only), .. } if only == text),
            Self::Text(text) | Self::TextBecause(text, _) => *value == Brief::text(text),
            Self::Null | Self::Never(_) => false,
        }
    }

    /// The reason why nothing else is accepted, as a predicate of the field, where there is one to give.
    pub const fn reason(self) -> Option<&'static str> {
        match self {
            Self::Never(reason) | Self::EmptyBecause(reason) | Self::TextBecause(_, reason) => Some(reason),
            _ => None,
        }
    }

    /// The accepted values, in words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Anything => "anything",
            Self::Number(0.0) => "0",
            Self::Number(_) => "1",
            Self::Boolean(true) => "true",
            Self::Boolean(false) => "false",
            Self::EmptyList | Self::EmptyBecause(_) => "[]",
            Self::ListOf(text) | Self::Text(text) | Self::TextBecause(text, _) => text,
            Self::Null | Self::Never(_) => "null",
        }
    }

    /// The accepted values beside `null`, where they are few.
    pub fn values(self) -> Option<Vec<Value>> {
        match self {
            Self::Anything => None,
            Self::Number(number) => Some(vec![json!(number)]),
            Self::Boolean(value) => Some(vec![json!(value)]),
            Self::EmptyList | Self::EmptyBecause(_) => Some(vec![json!([])]),
            Self::ListOf(text) => Some(vec![json!([text])]),
            Self::Text(text) | Self::TextBecause(text, _) => Some(vec![json!(text)]),
            Self::Null | Self::Never(_) => Some(Vec::new()),
        }
    }
}
