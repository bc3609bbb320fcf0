//! `stream_options`: what a stream holds beside its text.
//!
//! Read by the rooms of endpoints that stream.

use std::sync::LazyLock;

use super::neutral::NeutralFields;
use crate::api::answers::StreamOptions;
use crate::api::http::ApiError;
use crate::api::json::{Field, FieldTable, Fields, FieldsShape, Neutral};

/// Name of the field.
pub const STREAM_OPTIONS: &str = "stream_options";
const PREFIX: &str = "stream_options.";
const INCLUDE_USAGE: Field =
    Field::boolean("include_usage").about("Send the usage in one more chunk at the end. Only with `stream`.");
const CONTINUOUS_USAGE_STATS: Field = Field::boolean("continuous_usage_stats")
    .about("Send the usage so far in every chunk, with or without `include_usage`.");
const COALESCE: Field = Field::boolean("coalesce").about("Send no chunk for a token that adds no text yet.");
/// Fields that are not supported.
const UNSUPPORTED: NeutralFields =
    NeutralFields { prefix: PREFIX, table: &[("stream_options.include_obfuscation", Neutral::Anything)] };

/// The fields of the object.
pub static STREAM_FIELDS: LazyLock<FieldTable> = LazyLock::new(|| {
    FieldTable::new([INCLUDE_USAGE, CONTINUOUS_USAGE_STATS, COALESCE].into_iter().chain(UNSUPPORTED.declared()))
});
/// The object as a field.
pub const STREAM_OPTIONS_FIELD: Field =
    Field::object(STREAM_OPTIONS, || &STREAM_FIELDS).about("How the pieces look. Only with `stream`.");

/// Reads the object.
pub fn stream_options_shape() -> FieldsShape {
    FieldsShape { param: STREAM_OPTIONS, known: &STREAM_FIELDS, prefix: PREFIX }
}

/// The options that were read, of an answer that is streamed or not.
///
/// # Errors
/// When there are some and the answer is not streamed, or one of them cannot be used.
pub fn given_stream_options(read: Option<Result<Fields, ApiError>>, stream: bool) -> Result<StreamOptions, ApiError> {
    let Some(read) = read else { return Ok(StreamOptions::default()) };
    let options = read?;
    if !stream {
        let problem = "is only allowed when 'stream' is true";
        return Err(ApiError::Invalid { param: STREAM_OPTIONS.to_owned(), problem });
    }
    let read = StreamOptions {
        include_usage: options.flag(&INCLUDE_USAGE)?,
        continuous_usage_stats: options.flag(&CONTINUOUS_USAGE_STATS)?,
        coalesce: options.flag(&COALESCE)?,
    };
    UNSUPPORTED.check(&options)?;
    options.finish()?;
    Ok(read)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_of_the_table_is_documented() {
        let page = include_str!("../../../../docs/api.md");
        for (name, _) in UNSUPPORTED.table {
            assert!(page.contains(&format!("`{name}`")), "{name}");
        }
    }
}
