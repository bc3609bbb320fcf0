//! `response_format` as OpenAI's chat has it, and `text.format` of its responses.
//!
//! Used by `draft` and by the room of responses.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::declared::StructureBounds;
use super::form_text::{Spacing, json_form};
use super::members::{Members, wrong_type};
use crate::api::http::ApiError;
use crate::api::json::json_bytes;
use crate::constraint::Form;

/// Most characters of the name of a schema; OpenAI's.
pub const NAME_CHARACTERS: usize = 64;
const TYPES: &str = "one of text, json_object and json_schema";

/// A format as a response repeats it.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct TextFormat {
    #[serde(rename = "type")]
    #[schema(value_type = String)]
    kind: &'static str,
    /// The name of its schema.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// The purpose of its schema.
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    /// Its schema.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    schema: Option<Value>,
    /// Given or not, every answer is valid under the schema.
    #[serde(skip_serializing_if = "Option::is_none")]
    strict: Option<bool>,
}

impl Default for TextFormat {
    fn default() -> Self {
        Self { kind: "text", name: None, description: None, schema: None, strict: None }
    }
}

impl TextFormat {
    /// Bytes of it as JSON, as far as a request decides them.
    pub fn json_bytes(&self) -> usize {
        let texts = [&self.name, &self.description].into_iter().flatten().map(|text| json_bytes(text)).sum::<usize>();
        texts + self.schema.as_ref().map_or(0, |schema| schema.to_string().len())
    }

    fn form(&self) -> Option<Form> {
        match self.kind {
            "text" => None,
            "json_object" => Some(json_form(None, Spacing::Usual)),
            _ => Some(json_form(self.schema.clone(), Spacing::Usual)),
        }
    }
}

/// Reads the value of `response_format`. Nothing comes of plain text.
///
/// # Errors
/// The [`ApiError`] of the first member that is wrong.
pub fn read_response_format(
    param: &'static str,
    value: Value,
    bounds: StructureBounds,
) -> Result<Option<Form>, ApiError> {
    let mut format = Members::of(param, value)?;
    let kind = read_type(param, &mut format)?;
    let read = if kind == "json_schema" {
        let name = format.name("json_schema");
        let schema = format.take("json_schema").ok_or(ApiError::Missing { param: "response_format.json_schema" })?;
        let mut members = Members::of(&name, schema)?;
        let read = read_schema(&mut members, bounds)?;
        members.finish()?;
        read
    } else {
        TextFormat { kind, ..TextFormat::default() }
    };
    format.finish()?;
    Ok(read.form())
}

/// Reads the value of `text.format`, with the form that it asks for.
///
/// # Errors
/// The [`ApiError`] of the first member that is wrong.
pub fn read_text_format(
    param: &'static str,
    value: Value,
    bounds: StructureBounds,
) -> Result<(TextFormat, Option<Form>), ApiError> {
    let mut format = Members::of(param, value)?;
    let kind = read_type(param, &mut format)?;
    let read = match kind {
        "json_schema" => read_schema(&mut format, bounds)?,
        _ => TextFormat { kind, ..TextFormat::default() },
    };
    format.finish()?;
    let form = read.form();
    Ok((read, form))
}

fn read_type(param: &'static str, format: &mut Members) -> Result<&'static str, ApiError> {
    let given = format.take_text("type")?;
    let known = ["text", "json_object", "json_schema"].into_iter().find(|known| given.as_deref() == Some(known));
    known.ok_or_else(|| {
        let given = given.map_or_else(|| "no type".to_owned(), |given| format!("type {given:?}"));
        ApiError::OutOfRange { param, value: given, range: format!("{TYPES}, under 'type'") }
    })
}

/// Reads `name`, `description`, `schema` and `strict`.
fn read_schema(members: &mut Members, bounds: StructureBounds) -> Result<TextFormat, ApiError> {
    let missing = |name: String| ApiError::Invalid { param: name, problem: "is missing" };
    let name = members.take_text("name")?.ok_or_else(|| missing(members.name("name")))?;
    let is_allowed = |character: char| character.is_ascii_alphanumeric() || "_-".contains(character);
    if name.is_empty() || name.len() > NAME_CHARACTERS || !name.chars().all(is_allowed) {
        let problem = "must have 1 to 64 characters out of a-z, A-Z, 0-9, _ and -";
        return Err(ApiError::Invalid { param: members.name("name"), problem });
    }
    let param = members.name("schema");
    let schema = members.take("schema").ok_or_else(|| missing(param.clone()))?;
    if schema.is_string() {
        return Err(wrong_type(&param, "a JSON schema", &schema));
    }
    Ok(TextFormat {
        kind: "json_schema",
        name: Some(name),
        description: members.take_text("description")?,
        schema: Some(bounds.schema(&param, schema)?),
        strict: members.take_flag("strict")?,
    })
}
