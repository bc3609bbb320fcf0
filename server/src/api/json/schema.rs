//! The JSON schema of an object of declared fields, for the OpenAPI document.
//!
//! Used by `openapi`. It says what `fields` checks; rules between several fields are beyond it.

use serde_json::Value;
use utoipa::openapi::schema::{AdditionalProperties, AnyOfBuilder, ArrayBuilder, SchemaType, Type};
use utoipa::openapi::{ObjectBuilder, RefOr, Schema};

use super::brief::TEXT_BYTES;
use super::field::{Absence, Field, Form, Most};
use super::field_table::FieldTable;
use super::limit_values::LimitValues;
use super::neutral::Neutral;

/// The schema of an object with these fields and no others.
pub fn object_schema(table: &FieldTable, limits: &LimitValues) -> Schema {
    let closed = AdditionalProperties::<Schema>::FreeForm(false);
    let object = ObjectBuilder::new().additional_properties(Some(closed));
    let object = table.iter().fold(object, |object, field| {
        let object = object.property(field.name, field_schema(field, limits));
        if field.absence == Absence::Required { object.required(field.name) } else { object }
    });
    object.into()
}

/// The schema of a string.
pub fn text_schema() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

/// The schema of a list of at least one token id.
pub fn ids_schema() -> ArrayBuilder {
    list_schema(ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0)).maximum(Some(u32::MAX)))
        .min_items(Some(1))
}

/// The schema of a list of such elements.
pub fn list_schema(element: impl Into<RefOr<Schema>>) -> ArrayBuilder {
    ArrayBuilder::new().items(element.into())
}

/// The schema of a value that has one of these forms.
pub fn any_of(forms: impl IntoIterator<Item = RefOr<Schema>>) -> Schema {
    forms.into_iter().fold(AnyOfBuilder::new(), AnyOfBuilder::item).into()
}

fn field_schema(field: &Field, limits: &LimitValues) -> Schema {
    let described = || ObjectBuilder::new().description(Some(limits.fill(field.about))).default(default_of(field));
    let typed = |kind: Type| described().schema_type(optional(field, kind));
    match field.form {
        Form::Boolean => typed(Type::Boolean).into(),
        Form::Integer { least, most } => {
            let most = match most {
                Most::Number(number) => number,
                Most::Limit(name) => limits.get(name),
            };
            typed(Type::Integer).minimum(Some(least)).maximum(Some(most)).into()
        }
        Form::IntegerOr { special, least, most } => {
            let range = ObjectBuilder::new().schema_type(Type::Integer);
            let range = range.minimum(Some(least)).maximum(Some(limits.get(most)));
            let special = ObjectBuilder::new().schema_type(SchemaType::AnyValue).enum_values(Some([special]));
            wrapped(field, any_of([range.into(), special.into()]), limits)
        }
        Form::Number { least, most } => typed(Type::Number).minimum(Some(least)).maximum(Some(most)).into(),
        Form::Text { least } => {
            // A length in JSON's schemas counts characters.
            typed(Type::String).min_length(Some(least)).max_length(Some(TEXT_BYTES)).into()
        }
        Form::Choice(values) => {
            let values = values.iter().map(|&value| Value::from(value)).chain([Value::Null]);
            described().schema_type(SchemaType::AnyValue).enum_values(Some(values)).into()
        }
        Form::Object(fields) => wrapped(field, object_schema(fields(), limits), limits),
        Form::Shape(schema) => wrapped(field, schema(limits), limits),
        Form::Any => described().schema_type(SchemaType::AnyValue).into(),
        Form::Neutral(neutral) => neutral_schema(neutral, described()),
    }
}

fn default_of(field: &Field) -> Option<Value> {
    let Absence::Value(text) = field.absence else { return None };
    Some(serde_json::from_str(text).expect("defaults are written as JSON, which a test checks for all of them"))
}

fn optional(field: &Field, kind: Type) -> SchemaType {
    if field.absence == Absence::Required { kind.into() } else { [kind, Type::Null].into_iter().collect() }
}

/// A schema of its own as the schema of a field.
fn wrapped(field: &Field, schema: Schema, limits: &LimitValues) -> Schema {
    let any = AnyOfBuilder::new().description(Some(limits.fill(field.about))).default(default_of(field)).item(schema);
    let null = ObjectBuilder::new().schema_type(Type::Null);
    if field.absence == Absence::Required { any.into() } else { any.item(null).into() }
}

fn neutral_schema(neutral: Neutral, described: ObjectBuilder) -> Schema {
    match neutral.values() {
        Some(values) => {
            let values = values.into_iter().chain([Value::Null]);
            described.schema_type(SchemaType::AnyValue).enum_values(Some(values)).into()
        }
        None => described.schema_type(SchemaType::AnyValue).into(),
    }
}
