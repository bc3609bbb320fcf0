//! The fields of `POST /v1/batches`, declared and read.

use std::sync::LazyLock;

use serde::de::MapAccess;

use super::asker::ENDPOINTS;
use super::window::{COMPLETION_WINDOW, window_schema, window_seconds};
use crate::api::fields::{METADATA, MetadataShape, metadata_schema};
use crate::api::http::ApiError;
use crate::api::json::{Brief, Field, FieldTable, Fields, FieldsShape, Most, Shape, Shaped, read_body};
use crate::batch_store::NewBatch;

const INPUT_FILE_ID: &str = "input_file_id";
const OUTPUT_EXPIRES_AFTER: &str = "output_expires_after";
const ANCHOR: Field = Field::choice("anchor", &["created_at"]).required().about("From when on: `\"created_at\"`.");
const SECONDS: Field = Field::integer("seconds", 3600, Most::Number(2_592_000)).required().about("3600 to 2592000.");
const ENDPOINT: Field = Field::choice("endpoint", &ENDPOINTS)
    .required()
    .about("The path that every line of the file names as its `url`. See [which there are](#batches).");

/// Fields of a body.
pub static BATCH_FIELDS: LazyLock<FieldTable> = LazyLock::new(|| {
    FieldTable::new([
        Field::nonempty_text(INPUT_FILE_ID).required().about("Id of a file of the purpose `batch`."),
        ENDPOINT,
        Field::shape(COMPLETION_WINDOW, window_schema).required().about(
            "The time that the batch is given: a number with the unit `s`, `m`, `h` or `d`, such as `\"24h\"`, at most \
             30 days. Then it expires.",
        ),
        Field::shape(METADATA, metadata_schema)
            .about("Up to 16 names of up to 64 characters, with texts of up to 512, which the batch repeats."),
        Field::object(OUTPUT_EXPIRES_AFTER, || &OUTPUT_FIELDS),
    ])
});

/// Fields of `output_expires_after`.
pub static OUTPUT_FIELDS: LazyLock<FieldTable> = LazyLock::new(|| FieldTable::new([ANCHOR, SECONDS]));

struct BatchShape;

/// Values as they were read.
struct Draft {
    fields: Fields,
    metadata: <MetadataShape as Shape>::Read,
    output: <FieldsShape as Shape>::Read,
}

impl Shape for BatchShape {
    type Read = Result<Draft, ApiError>;

    fn object<'de, A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Read, A::Error> {
        let mut draft = Draft { fields: Fields::new(&BATCH_FIELDS, ""), metadata: None, output: None };
        while let Some(name) = draft.fields.next_known(&mut object)? {
            match name {
                METADATA => draft.metadata = object.next_value_seed(Shaped(MetadataShape))?,
                OUTPUT_EXPIRES_AFTER => {
                    let prefix = "output_expires_after.";
                    let shape = FieldsShape { param: OUTPUT_EXPIRES_AFTER, known: &OUTPUT_FIELDS, prefix };
                    draft.output = object.next_value_seed(Shaped(shape))?;
                }
                _ => draft.fields.set(name, object.next_value()?),
            }
        }
        Ok(Ok(draft))
    }

    fn other(self, value: Brief) -> Self::Read {
        Err(ApiError::NotAnObject { found: value.kind() })
    }
}

/// Reads a body.
///
/// # Errors
/// The [`ApiError`] of a field that is missing or cannot be used.
pub fn read_batch(body: &[u8]) -> Result<NewBatch, ApiError> {
    let Draft { fields, metadata, output } = read_body(body, BatchShape)?;
    let required = |name: &'static str| fields.text(name)?.ok_or(ApiError::Missing { param: name });
    let (input_file_id, _) = (required(INPUT_FILE_ID)?, required(ENDPOINT.name)?);
    let endpoint = fields.choice(&ENDPOINT)?.to_owned();
    let completion_window = required(COMPLETION_WINDOW)?;
    let window_s = window_seconds(&completion_window)?;
    let output_s = output.transpose()?.map(|output| read_output(&output)).transpose()?;
    fields.finish()?;
    let metadata = metadata.transpose()?;
    Ok(NewBatch { input_file_id, endpoint, completion_window, window_s, metadata, output_s })
}

/// Seconds for which results are kept.
fn read_output(fields: &Fields) -> Result<u64, ApiError> {
    let missing = || ApiError::Missing { param: OUTPUT_EXPIRES_AFTER };
    fields.get(ANCHOR.name).ok_or_else(missing)?;
    fields.choice(&ANCHOR)?;
    let seconds = fields.whole(&SECONDS)?.ok_or_else(missing)?;
    fields.finish()?;
    Ok(u64::try_from(seconds).expect("it is within its range"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::api::json::{Documented, hold_tables};

    fn read(changed: &[(&str, Value)]) -> Result<NewBatch, ApiError> {
        let mut body = json!({"input_file_id": "f", "endpoint": "/v1/completions", "completion_window": "24h"});
        changed.iter().for_each(|(name, value)| body[*name] = value.clone());
        read_batch(body.to_string().as_bytes())
    }

    #[test]
    fn the_page_s_tables_say_what_is_declared() {
        let own = Documented { prefix: "", fields: &BATCH_FIELDS };
        hold_tables(
            "Fields of `POST /v1/batches`",
            &[own, Documented { prefix: "output_expires_after.", fields: &OUTPUT_FIELDS }],
        );
    }

    #[test]
    fn a_batch_is_read_with_all_that_it_may_have() {
        let output = json!({"anchor": "created_at", "seconds": 3600});
        let read = read(&[("metadata", json!({"a": "b"})), ("output_expires_after", output)]).unwrap();
        assert_eq!((read.window_s, read.output_s), (86_400, Some(3600)));
        assert_eq!(read.metadata.unwrap()["a"], "b");
    }

    #[test]
    fn a_field_that_cannot_be_used_is_named() {
        for (field, value, param) in [
            ("input_file_id", Value::Null, "input_file_id"),
            ("endpoint", Value::Null, "endpoint"),
            ("endpoint", json!("/v1/files"), "endpoint"),
            ("completion_window", Value::Null, "completion_window"),
            ("completion_window", json!("soon"), "completion_window"),
            ("metadata", json!({"a": 1}), "metadata"),
            ("output_expires_after", json!({"seconds": 3600}), "output_expires_after"),
            ("output_expires_after", json!({"anchor": "created_at"}), "output_expires_after"),
            ("output_expires_after", json!({"anchor": "created_at", "seconds": 1}), "seconds"),
            ("bogus", json!(1), "bogus"),
        ] {
            assert_eq!(read(&[(field, value.clone())]).unwrap_err().param(), Some(param), "{field} {value}");
        }
    }
}
