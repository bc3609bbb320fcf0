//! The fields of a body that say how text is written.
//!
//! Read by the rooms of generating endpoints; `answers` writes accordingly.

use crate::api::http::ApiError;
use crate::api::json::{Field, Fields};

const INCLUDE_STOP: Field = Field::boolean("include_stop_str_in_output").about(
    "Leave the stop string in the text that it ends, and the text of the token that ends it. Special tokens have no \
     text unless `skip_special_tokens` is false.",
);
const SKIP_SPECIAL: Field = Field::boolean("skip_special_tokens")
    .or("true")
    .about("Whether special tokens leave no trace in the text; `false` writes their names.");
const TOKENS_AS_IDS: Field = Field::boolean("return_tokens_as_token_ids")
    .about("Name tokens in `logprobs` by their ids, as `token_id:7`, so that none share a name.");

/// The fields.
pub const TEXT_OPTIONS: [Field; 3] = [INCLUDE_STOP, SKIP_SPECIAL, TOKENS_AS_IDS];

/// How text is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TextOptions {
    /// The stop string, and the text of the last token, stay in the text.
    pub include_stop: bool,
    /// Special tokens leave no trace.
    pub skip_special: bool,
    /// Tokens go by their ids in log-probabilities.
    pub tokens_as_ids: bool,
}

impl Default for TextOptions {
    fn default() -> Self {
        Self { include_stop: false, skip_special: true, tokens_as_ids: false }
    }
}

impl TextOptions {
    /// Reads the fields.
    ///
    /// # Errors
    /// When one is neither true nor false.
    pub fn read(fields: &Fields) -> Result<Self, ApiError> {
        Ok(Self {
            include_stop: fields.flag(&INCLUDE_STOP)?,
            skip_special: fields.flag(&SKIP_SPECIAL)?,
            tokens_as_ids: fields.flag(&TOKENS_AS_IDS)?,
        })
    }
}
