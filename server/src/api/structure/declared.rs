//! The fields of structured output, declared, with their limits.
//!
//! Part of the tables of single endpoints.

use serde_json::Value;
use utoipa::openapi::schema::{AdditionalProperties, SchemaType, Type};
use utoipa::openapi::{ObjectBuilder, RefOr, Schema};

use super::response_format::NAME_CHARACTERS;
use crate::api::json::{Field, LimitValues, any_of, list_schema, text_schema};

/// Limits of forms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StructureBounds {
    /// Bytes of a schema, an expression or a grammar.
    pub grammar_bytes: usize,
    /// Strings in a list of targets.
    pub targets: usize,
    /// Bytes of all of them.
    pub target_bytes: usize,
}

/// OpenAI's field.
pub const RESPONSE_FORMAT: &str = "response_format";
/// The field of vLLM.
pub const STRUCTURED_OUTPUTS: &str = "structured_outputs";
/// The targets among which the answer is.
pub const ALLOWED_TARGETS: &str = "allowed_targets";
/// An older field of vLLM: a JSON schema.
pub const GUIDED_JSON: &str = "guided_json";
/// An older field of vLLM: a regular expression.
pub const GUIDED_REGEX: &str = "guided_regex";
/// An older field of vLLM: a list of strings.
pub const GUIDED_CHOICE: &str = "guided_choice";
/// An older field of vLLM: a grammar.
pub const GUIDED_GRAMMAR: &str = "guided_grammar";
/// An older field of vLLM: white space between the tokens of JSON.
pub const GUIDED_WHITESPACE_PATTERN: &str = "guided_whitespace_pattern";

/// The fields.
pub const STRUCTURE: [Field; 8] = [
    Field::shape(RESPONSE_FORMAT, response_format_schema).about(
        "OpenAI's object: `{\"type\": \"text\"}`, `{\"type\": \"json_object\"}` for any JSON object, or `{\"type\": \
         \"json_schema\", \"json_schema\": {\"name\": ..., \"schema\": ...}}`, where `description` and `strict` may \
         stand, too: every answer is valid under the schema with either value of `strict`.",
    ),
    Field::shape(STRUCTURED_OUTPUTS, structured_outputs_schema).about(
        "vLLM's object with exactly one of `json` (a schema, or a text of one), `regex`, `choice` (a list of up to \
         {allowed_targets} strings), `grammar` and `json_object` (`true`). With JSON, `disable_any_whitespace`, \
         `whitespace_pattern` (an expression) and `disable_additional_properties` may stand beside; \
         `disable_fallback` changes nothing.",
    ),
    Field::shape(ALLOWED_TARGETS, targets_schema).about(
        "A list of 1 to {allowed_targets} strings of {allowed_target_bytes} bytes in all: the answer is one of them, \
         token by token as the tokenizer writes it.",
    ),
    Field::shape(GUIDED_JSON, guided_json_schema).about("The older name of `structured_outputs.json`."),
    Field::shape(GUIDED_REGEX, grammar_schema).about("The older name of `structured_outputs.regex`."),
    Field::shape(GUIDED_CHOICE, targets_schema).about("The older name of `structured_outputs.choice`."),
    Field::shape(GUIDED_GRAMMAR, grammar_schema).about("The older name of `structured_outputs.grammar`."),
    Field::shape(GUIDED_WHITESPACE_PATTERN, |_| text_schema().into())
        .about("The older name of `structured_outputs.whitespace_pattern`. Only with `guided_json`."),
];

fn closed() -> ObjectBuilder {
    ObjectBuilder::new().additional_properties(Some(AdditionalProperties::<Schema>::FreeForm(false)))
}

fn one(value: &str) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some([value]))
}

fn flag() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(SchemaType::from_iter([Type::Boolean, Type::Null]))
}

/// The schema of a JSON schema.
fn json_schema() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(SchemaType::from_iter([Type::Object, Type::Boolean]))
}

fn named_schema(object: ObjectBuilder) -> ObjectBuilder {
    let name = text_schema().min_length(Some(1)).max_length(Some(NAME_CHARACTERS)).pattern(Some("^[a-zA-Z0-9_-]+$"));
    let text = ObjectBuilder::new().schema_type(SchemaType::from_iter([Type::String, Type::Null]));
    object
        .property("name", name)
        .required("name")
        .property("description", text)
        .property("schema", json_schema())
        .required("schema")
        .property("strict", flag())
}

fn typed(value: &str) -> ObjectBuilder {
    closed().property("type", one(value)).required("type")
}

fn formats(with_schema: ObjectBuilder) -> Schema {
    any_of([typed("text"), typed("json_object"), with_schema].map(|format| RefOr::T(format.into())))
}

fn response_format_schema(_: &LimitValues) -> Schema {
    let schema: Schema = named_schema(closed()).into();
    formats(typed("json_schema").property("json_schema", schema).required("json_schema"))
}

/// The schema of `text.format` of a response.
pub fn text_format_schema() -> Schema {
    formats(named_schema(typed("json_schema")))
}

fn structured_outputs_schema(limits: &LimitValues) -> Schema {
    closed()
        .property("json", guided_json_schema(limits))
        .property("regex", grammar_schema(limits))
        .property("choice", targets_schema(limits))
        .property("grammar", grammar_schema(limits))
        .property("json_object", flag())
        .property("disable_any_whitespace", flag())
        .property("whitespace_pattern", text_schema())
        .property("disable_additional_properties", flag())
        .property("disable_fallback", flag())
        .property("structural_tag", ObjectBuilder::new().enum_values(Some([Value::Null])))
        .into()
}

fn guided_json_schema(limits: &LimitValues) -> Schema {
    any_of([json_schema().into(), grammar_schema(limits).into()])
}

fn grammar_schema(limits: &LimitValues) -> Schema {
    text_schema().max_length(Some(limits.count("grammar_bytes"))).into()
}

fn targets_schema(limits: &LimitValues) -> Schema {
    list_schema(text_schema()).min_items(Some(1)).max_items(Some(limits.count("allowed_targets"))).into()
}
