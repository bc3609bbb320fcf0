//! `stream_options`: what a stream holds beside its text.
//!
//! Read by the rooms of endpoints that stream.

use std::sync::LazyLock;

use super::neutral::{Neutral, NeutralFields};
use crate::api::answers::StreamOptions;
use crate::api::http::ApiError;
use crate::api::json::{Fields, FieldsShape, Known};

/// Name of the field.
pub const STREAM_OPTIONS: &str = "stream_options";
const PREFIX: &str = "stream_options.";
/// Fields that are supported.
const SUPPORTED: [&str; 3] = ["include_usage", "continuous_usage_stats", "coalesce"];
/// Fields that are not supported.
const UNSUPPORTED: NeutralFields =
    NeutralFields { prefix: PREFIX, table: &[("stream_options.include_obfuscation", Neutral::Anything)] };

static KNOWN: LazyLock<Known> = LazyLock::new(|| SUPPORTED.into_iter().chain(UNSUPPORTED.names()).collect());

/// Reads the object.
pub fn stream_options_shape() -> FieldsShape {
    FieldsShape { param: STREAM_OPTIONS, known: &KNOWN, prefix: PREFIX }
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
        include_usage: options.boolean("include_usage")?.unwrap_or(false),
        continuous_usage_stats: options.boolean("continuous_usage_stats")?.unwrap_or(false),
        coalesce: options.boolean("coalesce")?.unwrap_or(false),
    };
    UNSUPPORTED.check(&options, 1)?;
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
