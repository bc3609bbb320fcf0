//! `stop`: one string or a list of them.
//!
//! Read by the rooms of generating endpoints. `answers::stop` searches for the strings.

use serde::de::SeqAccess;
use utoipa::openapi::Schema;

use crate::api::http::ApiError;
use crate::api::json::{Brief, Field, LimitValues, Shape, Shaped, any_of, list_schema, skip_rest, text_schema};

/// The field.
pub const STOP: Field = Field::shape("stop", stop_schema)
    .about("A string or a list of up to {stop_strings}, none empty, each of at most {stop_bytes} bytes. See below.");

fn stop_schema(limits: &LimitValues) -> Schema {
    let text = || text_schema().min_length(Some(1)).max_length(Some(limits.count("stop_bytes")));
    let texts = list_schema(text()).max_items(Some(limits.count("stop_strings")));
    any_of([text().into(), texts.into()])
}

/// Bounds of `stop`.
#[derive(Debug, Clone, Copy)]
pub struct StopBounds {
    /// Most strings.
    pub strings: usize,
    /// Most bytes of each string.
    pub bytes: usize,
}

/// Reads `stop`; nothing comes of `null`.
pub struct StopShape(pub StopBounds);

impl Shape for StopShape {
    type Read = Option<Result<Vec<String>, ApiError>>;

    fn text(self, text: &str) -> Self::Read {
        Some(within(text, || "stop".to_owned(), self.0.bytes).map(|text| vec![text]))
    }

    fn list<'de, A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Read, A::Error> {
        let StopBounds { strings, bytes } = self.0;
        let mut read = Vec::new();
        while read.len() < strings {
            match list.next_element_seed(Shaped(StringShape { index: read.len(), bytes }))? {
                None => break,
                Some(string) => read.push(string),
            }
        }
        let count = read.len() + skip_rest(list)?;
        if count > strings {
            return Ok(Some(Err(ApiError::TooMany { param: "stop", count, unit: "strings", limit: strings })));
        }
        Ok(Some(read.into_iter().collect()))
    }

    fn other(self, value: Brief) -> Self::Read {
        let (expected, found) = ("a string or a list of strings", value.kind());
        (value != Brief::Null).then(|| Err(ApiError::WrongType { param: "stop".to_owned(), expected, found }))
    }
}

/// One of a list.
struct StringShape {
    index: usize,
    bytes: usize,
}

impl StringShape {
    fn param(&self) -> String {
        format!("stop[{}]", self.index)
    }
}

impl Shape for StringShape {
    type Read = Result<String, ApiError>;

    fn text(self, text: &str) -> Self::Read {
        within(text, || self.param(), self.bytes)
    }

    fn other(self, value: Brief) -> Self::Read {
        Err(ApiError::WrongType { param: self.param(), expected: "a string", found: value.kind() })
    }
}

fn within(text: &str, param: impl Fn() -> String, limit: usize) -> Result<String, ApiError> {
    if text.len() > limit {
        return Err(ApiError::TooLong { param: param(), bytes: text.len(), limit });
    }
    Ok(text.to_owned())
}

/// The strings that were read, for a model that takes text or not.
///
/// # Errors
/// The error of their form, when one is empty, or when the model takes no text.
pub fn given_stop(read: Option<Result<Vec<String>, ApiError>>, takes_text: bool) -> Result<Vec<String>, ApiError> {
    let strings = read.unwrap_or(Ok(Vec::new()))?;
    if strings.iter().any(String::is_empty) {
        return Err(ApiError::Invalid { param: "stop".to_owned(), problem: "must not hold an empty string" });
    }
    if !strings.is_empty() && !takes_text {
        return Err(ApiError::NeedsTokenizer { param: "stop", instead: "leave it out" });
    }
    Ok(strings)
}
