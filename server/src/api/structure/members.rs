//! The members of an object that was read as a whole, taken one by one.
//!
//! Used by the readers of single fields. A member that is `null` counts as absent.

use serde_json::{Map, Value};

use crate::api::http::ApiError;
use crate::api::json::shortened;

/// Names that a client sees of those it got wrong.
const NAMES_SHOWN: usize = 8;

/// Members that were not taken yet.
#[derive(Debug)]
pub struct Members {
    /// Full name of the object.
    param: String,
    members: Map<String, Value>,
}

impl Members {
    /// The members of the value of `param`.
    ///
    /// # Errors
    /// When it is no object.
    pub fn of(param: &str, value: Value) -> Result<Self, ApiError> {
        match value {
            Value::Object(members) => Ok(Self { param: param.to_owned(), members }),
            other => Err(wrong_type(param, "an object", &other)),
        }
    }

    /// Full name of a member.
    pub fn name(&self, name: &str) -> String {
        format!("{}.{name}", self.param)
    }

    /// Takes a member.
    pub fn take(&mut self, name: &str) -> Option<Value> {
        self.members.remove(name).filter(|value| *value != Value::Null)
    }

    /// Takes a text.
    ///
    /// # Errors
    /// When it is none.
    pub fn take_text(&mut self, name: &str) -> Result<Option<String>, ApiError> {
        self.take(name).map(|value| text(&self.name(name), value)).transpose()
    }

    /// Takes a truth value; false when absent.
    ///
    /// # Errors
    /// When it is none.
    pub fn take_flag(&mut self, name: &str) -> Result<Option<bool>, ApiError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Bool(value)) => Ok(Some(value)),
            Some(other) => Err(wrong_type(&self.name(name), "true or false", &other)),
        }
    }

    /// Refuses the members that are left.
    ///
    /// # Errors
    /// [`ApiError::UnknownFields`] with the first of them.
    pub fn finish(self) -> Result<(), ApiError> {
        if self.members.is_empty() {
            return Ok(());
        }
        let names = self.members.keys().take(NAMES_SHOWN).map(|name| self.name(&shortened(name)));
        Err(ApiError::UnknownFields { names: names.collect() })
    }
}

/// The value of `param` as a text.
///
/// # Errors
/// When it is none.
pub fn text(param: &str, value: Value) -> Result<String, ApiError> {
    match value {
        Value::String(text) => Ok(text),
        other => Err(wrong_type(param, "a string", &other)),
    }
}

/// The error of a value of another type.
pub fn wrong_type(param: &str, expected: &'static str, found: &Value) -> ApiError {
    let found = match found {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    ApiError::WrongType { param: param.to_owned(), expected, found }
}
