//! The fields that all routes of the encoder have, and the names of all fields of one route.

use std::sync::LazyLock;

use crate::api::fields::NeutralFields;
use crate::api::http::ApiError;
use crate::api::json::{Brief, Fields, Known, Neutral};

/// Name of the field that holds the inputs.
pub const INPUT: &str = "input";

/// Inputs, and how they are read.
const COMMON: [&str; 3] = [INPUT, "model", "add_special_tokens"];

/// Fields that OpenAI or vLLM know and that change nothing here.
pub const NEUTRAL: NeutralFields = NeutralFields {
    prefix: "",
    table: &[
        ("cache_salt", Neutral::Anything),
        ("priority", Neutral::Number(0.0)),
        ("request_id", Neutral::Null),
        ("truncate_prompt_tokens", Neutral::Null),
        ("user", Neutral::Anything),
    ],
};

/// Names of all fields of a route, made once.
pub type KnownFields = LazyLock<Known>;

/// The fields of a route with these fields of its own.
pub fn known(own: &[&'static str]) -> Known {
    COMMON.into_iter().chain(own.iter().copied()).chain(NEUTRAL.names()).collect()
}

/// A field with one of these values; the first one when absent.
///
/// # Errors
/// When it has any other value.
pub fn read_choice(
    fields: &Fields,
    param: &'static str,
    values: &'static [&'static str],
) -> Result<&'static str, ApiError> {
    let Some(given) = fields.get(param) else { return Ok(values[0]) };
    let Brief::Text { .. } = given else {
        return Err(ApiError::WrongType { param: param.to_owned(), expected: "a string", found: given.kind() });
    };
    let given = fields.text(param)?.unwrap_or_default();
    values.iter().copied().find(|value| *value == given).ok_or_else(|| {
        let range = format!("one of {}", values.join(", "));
        ApiError::OutOfRange { param, value: format!("{given:?}"), range }
    })
}
