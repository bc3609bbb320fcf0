//! `chat_template_kwargs`: variables of the chat template.
//!
//! Read by the rooms of endpoints that chat. Only plain values are taken, which bounds the work of a template.

use serde::de::MapAccess;
use utoipa::openapi::schema::{AdditionalProperties, SchemaType, Type};
use utoipa::openapi::{ObjectBuilder, RefOr, Schema};

use crate::api::http::ApiError;
use crate::api::json::{Brief, Field, LimitValues, OwnedText, Shape, shortened};
use crate::chat_template::TemplateValue;

/// Name of the field.
pub const TEMPLATE_VARIABLES: &str = "chat_template_kwargs";
/// Most variables.
const VARIABLES: usize = 32;
/// Variables that the server sets itself.
const OWN: [&str; 4] = ["messages", "tools", "documents", "add_generation_prompt"];

/// The object as a field.
pub const TEMPLATE_VARIABLES_FIELD: Field = Field::shape(TEMPLATE_VARIABLES, template_variables_schema).about(
    "An object of up to 32 truth values, numbers and strings of up to 1024 bytes: further variables of the template, \
     such as `enable_thinking`.",
);

fn template_variables_schema(_: &LimitValues) -> Schema {
    let kinds: SchemaType = [Type::Boolean, Type::Number, Type::String].into_iter().collect();
    let value = RefOr::T(ObjectBuilder::new().schema_type(kinds).into());
    let values = AdditionalProperties::RefOr(value);
    ObjectBuilder::new().additional_properties(Some(values)).max_properties(Some(VARIABLES)).into()
}

/// Reads the object; nothing comes of `null`.
pub struct TemplateVariablesShape;

impl Shape for TemplateVariablesShape {
    type Read = Option<Result<Vec<(String, TemplateValue)>, ApiError>>;

    fn object<'de, A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Read, A::Error> {
        let mut read = Ok(Vec::new());
        let mut count = 0;
        while let Some(OwnedText(name)) = object.next_key()? {
            let value: Brief = object.next_value()?;
            count += 1;
            if let Ok(variables) = &mut read
                && variables.len() < VARIABLES
            {
                match variable(&name, &value) {
                    Ok(value) => variables.push((name, value)),
                    Err(error) => read = Err(error),
                }
            }
        }
        if count > VARIABLES {
            let (unit, limit) = ("variables", VARIABLES);
            return Ok(Some(Err(ApiError::TooMany { param: TEMPLATE_VARIABLES, count, unit, limit })));
        }
        Ok(Some(read))
    }

    fn other(self, value: Brief) -> Self::Read {
        let (param, expected, found) = (TEMPLATE_VARIABLES.to_owned(), "an object", value.kind());
        (value != Brief::Null).then_some(Err(ApiError::WrongType { param, expected, found }))
    }
}

fn variable(name: &str, value: &Brief) -> Result<TemplateValue, ApiError> {
    let param = || format!("{TEMPLATE_VARIABLES}[{}]", shortened(name));
    if OWN.contains(&name) {
        return Err(ApiError::Invalid { param: param(), problem: "is a variable that the server sets itself" });
    }
    match value {
        Brief::Boolean(value) => Ok(TemplateValue::Boolean(*value)),
        Brief::Number(number) => Ok(match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => TemplateValue::Integer(whole),
            (None, number) => TemplateValue::Number(number.unwrap_or_default()),
        }),
        Brief::Text { beginning, bytes } if beginning.len() == *bytes => Ok(TemplateValue::Text(beginning.clone())),
        Brief::Text { bytes, .. } => Err(ApiError::TooLong { param: param(), bytes: *bytes, limit: 1024 }),
        other => {
            let expected = "a truth value, a number or a string";
            Err(ApiError::WrongType { param: param(), expected, found: other.kind() })
        }
    }
}
