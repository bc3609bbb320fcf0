//! `metadata`: names and values of the client's own, which the answer repeats.
//!
//! Read by the rooms of single endpoints.

use std::collections::BTreeMap;

use serde::de::MapAccess;
use utoipa::openapi::schema::AdditionalProperties;
use utoipa::openapi::{ObjectBuilder, RefOr, Schema};

use crate::api::http::ApiError;
use crate::api::json::{Brief, LimitValues, Shape, Shaped, TextShape, shortened, text_schema};

/// Name of the field.
pub const METADATA: &str = "metadata";
/// Most names.
const NAMES: usize = 16;
/// Most characters of a name.
const NAME_CHARACTERS: usize = 64;
/// Most characters of a value.
const VALUE_CHARACTERS: usize = 512;

/// The schema of the object.
pub fn metadata_schema(_: &LimitValues) -> Schema {
    let value = RefOr::T(text_schema().max_length(Some(VALUE_CHARACTERS)).into());
    let values = AdditionalProperties::RefOr(value);
    let name: Schema = text_schema().max_length(Some(NAME_CHARACTERS)).into();
    ObjectBuilder::new()
        .additional_properties(Some(values))
        .property_names(Some(name))
        .max_properties(Some(NAMES))
        .into()
}

/// Reads the object; nothing comes of `null`.
pub struct MetadataShape;

impl Shape for MetadataShape {
    type Read = Option<Result<BTreeMap<String, String>, ApiError>>;

    fn object<'de, A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Read, A::Error> {
        let (mut read, mut count) = (Ok(BTreeMap::new()), 0);
        while let Some(name) = object.next_key::<String>()? {
            let value = object.next_value_seed(Shaped(TextShape))?;
            count += 1;
            if let Ok(metadata) = &mut read
                && count <= NAMES
            {
                match checked(&name, value) {
                    Ok(value) => drop(metadata.insert(name, value)),
                    Err(error) => read = Err(error),
                }
            }
        }
        if count > NAMES {
            return Ok(Some(Err(ApiError::TooMany { param: METADATA, count, unit: "names", limit: NAMES })));
        }
        Ok(Some(read))
    }

    fn other(self, value: Brief) -> Self::Read {
        let (param, expected, found) = (METADATA.to_owned(), "an object of strings", value.kind());
        (value != Brief::Null).then_some(Err(ApiError::WrongType { param, expected, found }))
    }
}

fn checked(name: &str, value: Result<String, &'static str>) -> Result<String, ApiError> {
    let param = || format!("{METADATA}[{}]", shortened(name));
    if name.chars().count() > NAME_CHARACTERS {
        return Err(ApiError::Invalid { param: param(), problem: "has a name of more than 64 characters" });
    }
    let value = value.map_err(|found| ApiError::WrongType { param: param(), expected: "a string", found })?;
    if value.chars().count() > VALUE_CHARACTERS {
        return Err(ApiError::Invalid { param: param(), problem: "has more than 512 characters" });
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use serde::de::DeserializeSeed;
    use serde_json::{Value, json};

    use super::*;

    fn read(value: &Value) -> Result<BTreeMap<String, String>, ApiError> {
        Shaped(MetadataShape).deserialize(value).unwrap().expect("not null")
    }

    #[test]
    fn names_and_values_have_their_lengths_in_characters() {
        let (name, value) = ("é".repeat(NAME_CHARACTERS), "é".repeat(VALUE_CHARACTERS));
        assert_eq!(read(&json!({&name: &value})), Ok(BTreeMap::from([(name.clone(), value.clone())])));
        for (name, value) in [(format!("{name}é"), value.clone()), (name, format!("{value}é"))] {
            assert!(matches!(read(&json!({name: value})), Err(ApiError::Invalid { .. })));
        }
        let error = read(&json!({"a": 1})).expect_err("refused");
        assert_eq!(error.to_string(), "'metadata[a]' must be a string, not a number");
    }

    #[test]
    fn more_names_than_are_kept_are_counted() {
        let many: serde_json::Map<_, _> = (0..40).map(|index| (index.to_string(), json!("x"))).collect();
        let expected = ApiError::TooMany { param: METADATA, count: 40, unit: "names", limit: NAMES };
        assert_eq!(read(&Value::Object(many)), Err(expected));
    }
}
