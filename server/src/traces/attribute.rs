//! Attributes of spans in OTLP's form.

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue};

/// A name with its value.
pub type Attribute = KeyValue;

/// An attribute that is a text.
pub fn text(name: &str, value: impl Into<String>) -> Attribute {
    attribute(name, text_value(value))
}

/// An attribute that is a list of texts.
pub fn texts(name: &str, values: impl IntoIterator<Item: Into<String>>) -> Attribute {
    let values = values.into_iter().map(|value| AnyValue { value: Some(text_value(value)) }).collect();
    attribute(name, Value::ArrayValue(ArrayValue { values }))
}

/// An attribute that is a whole number; those beyond 63 bits become the largest.
pub fn integer(name: &str, value: impl TryInto<i64>) -> Attribute {
    attribute(name, Value::IntValue(value.try_into().unwrap_or(i64::MAX)))
}

/// An attribute that is a number.
pub fn number(name: &str, value: impl Into<f64>) -> Attribute {
    attribute(name, Value::DoubleValue(value.into()))
}

fn text_value(value: impl Into<String>) -> Value {
    Value::StringValue(value.into())
}

fn attribute(name: &str, value: Value) -> Attribute {
    KeyValue { key: name.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}
