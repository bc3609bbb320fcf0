//! `speculation`: whether tokens of an answer are drafted.
//!
//! Read by the rooms of generating endpoints.

use crate::api::http::ApiError;
use crate::api::json::{Field, Fields};

/// The field.
pub const SPECULATION: Field = Field::choice("speculation", &["auto", "off"]).or("\"auto\"").about(
    "`\"auto\"` drafts tokens from the source and the text so far where that is faster; `\"off\"` drafts none. The \
     answer is the same. See [above](#copy-faster).",
);

/// Reads the field.
///
/// # Errors
/// When it has no such value.
pub fn read_speculation(fields: &Fields) -> Result<bool, ApiError> {
    Ok(fields.choice(&SPECULATION)? == "auto")
}
