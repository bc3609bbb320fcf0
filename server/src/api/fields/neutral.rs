//! Values under which a field that is not supported changes nothing, so that it may be given.
//!
//! Used by the tables of unsupported fields in the rooms of endpoints.

use crate::api::http::ApiError;
use crate::api::json::{Brief, Fields};

/// Values under which an unsupported field changes nothing. `null` is always one.
#[derive(Debug, Clone, Copy)]
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

/// Unsupported fields of one object, by their names in errors: `stream_options.` stands before the names of a nested
/// object's fields.
#[derive(Debug, Clone, Copy)]
pub struct NeutralFields {
    /// Put before the names of the object's fields.
    pub prefix: &'static str,
    /// Full names with their neutral values.
    pub table: &'static [(&'static str, Neutral)],
}

impl NeutralFields {
    /// Names of the fields as they stand in the object.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        self.table.iter().map(move |(param, _)| self.name(param))
    }

    /// Refuses a request for `choices` continuations when one of the fields asks for something.
    ///
    /// # Errors
    /// [`ApiError::Unsupported`] for the first such field of the table.
    pub fn check(self, fields: &Fields, choices: u32) -> Result<(), ApiError> {
        for &(param, neutral) in self.table {
            if let Some(value) = fields.get(self.name(param))
                && !neutral.accepts(value, choices)
            {
                return Err(ApiError::Unsupported { param, neutral: neutral.words() });
            }
        }
        Ok(())
    }

    fn name(self, param: &'static str) -> &'static str {
        param.strip_prefix(self.prefix).expect("the table's names carry the prefix")
    }
}

impl Neutral {
    fn accepts(self, value: &Brief, choices: u32) -> bool {
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

    const fn words(self) -> &'static str {
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
}
