//! Values under which a field that is not supported changes nothing.
//!
//! Declared with fields that OpenAI or vLLM know and this server does not support yet.

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
    /// `{}`.
    EmptyObject,
    /// `""`.
    EmptyText,
    /// `{"type": "text"}`.
    PlainText,
    /// The value of `n`.
    Choices,
    /// Only `null`.
    Null,
}

impl Neutral {
    /// Whether `value`, in a request for so many choices, changes nothing.
    pub fn accepts(self, value: &Brief, choices: u32) -> bool {
        match self {
            Self::Anything => true,
            Self::Number(neutral) => value.number() == Some(neutral),
            Self::Boolean(neutral) => *value == Brief::Boolean(neutral),
            Self::EmptyList => *value == Brief::List { is_empty: true },
            Self::EmptyObject => matches!(value, Brief::Object { is_empty: true, .. }),
            Self::EmptyText => matches!(value, Brief::Text { bytes: 0, .. }),
            Self::PlainText => {
                matches!(value, Brief::Object { only_type: Some(kind), .. } if kind == "text")
            }
            Self::Choices => value.whole_number() == Some(choices.into()),
            Self::Null => false,
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
            Self::EmptyList => "[]",
            Self::EmptyObject => "{}",
            Self::EmptyText => "\"\"",
            Self::PlainText => "{\"type\": \"text\"}",
            Self::Choices => "the value of 'n'",
            Self::Null => "null",
        }
    }

    /// The accepted values beside `null`, where they are few.
    pub fn values(self) -> Option<Vec<Value>> {
        match self {
            Self::Anything | Self::Choices => None,
            Self::Number(number) => Some(vec![json!(number)]),
            Self::Boolean(value) => Some(vec![json!(value)]),
            Self::EmptyList => Some(vec![json!([])]),
            Self::EmptyObject => Some(vec![json!({})]),
            Self::EmptyText => Some(vec![json!("")]),
            Self::PlainText => Some(vec![json!({"type": "text"})]),
            Self::Null => Some(Vec::new()),
        }
    }
}
