//! A body as one JSON value.
//!
//! Used by the rooms of endpoints. Invalid JSON is reported before anything that is wrong with a field, so errors of
//! fields are part of what a shape reads.

use serde::de::DeserializeSeed;
use serde_json::error::Category;

use super::shape::{Shape, Shaped};
use crate::api::http::ApiError;

/// Reads a body in the given shape.
///
/// # Errors
/// When it is no JSON, or the shape's own error.
pub fn read_body<T, S: Shape<Read = Result<T, ApiError>>>(body: &[u8], shape: S) -> Result<T, ApiError> {
    let text = std::str::from_utf8(body).map_err(|error| ApiError::NotUtf8 { offset: error.valid_up_to() })?;
    let mut json = serde_json::Deserializer::from_str(text);
    let read = Shaped(shape).deserialize(&mut json).and_then(|read| json.end().map(|()| read));
    match read {
        Ok(read) => read,
        Err(_) if text.trim().is_empty() => Err(ApiError::MalformedJson { problem: "it is empty".to_owned() }),
        Err(error) => Err(ApiError::MalformedJson { problem: json_problem(&error) }),
    }
}

const LONE_SURROGATE: [&str; 2] = ["lone leading surrogate", "unexpected end of hex escape"];

fn json_problem(error: &serde_json::Error) -> String {
    let said = error.to_string();
    match error.classify() {
        Category::Syntax if said.starts_with("recursion limit exceeded") => {
            format!("it is nested too deeply (line {} column {})", error.line(), error.column())
        }
        // The parser says so only where half of a surrogate pair stands alone.
        Category::Syntax if LONE_SURROGATE.iter().any(|words| said.starts_with(words)) => format!(
            "a lone surrogate escape (\\ud800 to \\udfff) is no character (line {} column {})",
            error.line(),
            error.column()
        ),
        _ => said,
    }
}
