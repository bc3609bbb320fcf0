//! `text`: the form of a response's text.
//!
//! Used by `parse`.

use serde_json::Value;
use utoipa::openapi::schema::{AdditionalProperties, Type};
use utoipa::openapi::{ObjectBuilder, Schema};

use crate::api::http::ApiError;
use crate::api::json::LimitValues;
use crate::api::structure::{
    BoundedJsonShape, GivenStructure, Members, StructureBounds, TextFormat, read_text_format, text_format_schema,
};

/// Name of the field.
pub const TEXT: &str = "text";
const FORMAT: &str = "text.format";
const VERBOSITY: &str = "text.verbosity";
const MEDIUM: &str = "medium";
/// Bytes of the object around its schema.
const AROUND: usize = 4096;

/// Settings of a response's text.
#[derive(Debug, Default)]
pub struct GivenText {
    /// Its format, which the response repeats.
    pub format: TextFormat,
    /// The form that the format asks for.
    pub structure: Option<GivenStructure>,
}

impl GivenText {
    /// The value of the field, kept as a whole.
    pub const fn shape(bounds: StructureBounds) -> BoundedJsonShape {
        BoundedJsonShape { param: TEXT, most: bounds.grammar_bytes + AROUND }
    }

    /// Reads what was kept.
    ///
    /// # Errors
    /// The [`ApiError`] of the first member that is wrong.
    pub fn read(read: Option<Result<Value, ApiError>>, bounds: StructureBounds) -> Result<Self, ApiError> {
        let Some(read) = read else { return Ok(Self::default()) };
        let mut members = Members::of(TEXT, read?)?;
        if members.take("verbosity").is_some_and(|given| given != MEDIUM) {
            return Err(ApiError::Unsupported { param: VERBOSITY, neutral: MEDIUM });
        }
        let format = members.take("format").map(|value| read_text_format(FORMAT, value, bounds)).transpose()?;
        members.finish()?;
        let (format, form) = format.unwrap_or_default();
        Ok(Self { format, structure: form.map(|form| GivenStructure { param: FORMAT, form }) })
    }
}

/// The schema of the field.
pub fn text_schema(_: &LimitValues) -> Schema {
    let verbosity = ObjectBuilder::new().schema_type(Type::String).enum_values(Some([MEDIUM]));
    ObjectBuilder::new()
        .additional_properties(Some(AdditionalProperties::<Schema>::FreeForm(false)))
        .property("format", text_format_schema())
        .property("verbosity", verbosity)
        .into()
}
