//! Forms of single kinds, made of what fields hold, with their limits; and a form as JSON again.
//!
//! Used by the readers of fields.

use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::declared::StructureBounds;
use super::members::{text, wrong_type};
use crate::api::http::ApiError;
use crate::api::json::json_bytes;
use crate::constraint::{Form, Grammar};

/// White space between the tokens of JSON.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Spacing {
    /// The server's, or the schema's.
    #[default]
    Usual,
    /// None.
    Compact,
    /// Matches of an expression.
    Pattern(String),
}

impl StructureBounds {
    /// A JSON schema, as an object or truth value, or as a text of one.
    ///
    /// # Errors
    /// When it is none, or too long.
    pub fn schema(self, param: &str, value: Value) -> Result<Value, ApiError> {
        let schema = match value {
            Value::String(text) => {
                self.check_bytes(param, text.len())?;
                serde_json::from_str(&text).map_err(|error| ApiError::form(param, &format!("is no JSON: {error}")))?
            }
            other => other,
        };
        if !matches!(schema, Value::Object(_) | Value::Bool(_)) {
            return Err(wrong_type(param, "a JSON schema", &schema));
        }
        self.check_bytes(param, schema.to_string().len())?;
        Ok(schema)
    }

    /// The text of an expression or a grammar.
    ///
    /// # Errors
    /// When it is no text, or too long.
    pub fn grammar_text(self, param: &str, value: Value) -> Result<String, ApiError> {
        let text = text(param, value)?;
        self.check_bytes(param, text.len())?;
        Ok(text)
    }

    /// A list of texts, of which an answer is one.
    ///
    /// # Errors
    /// When it is none, is empty, or is too long.
    pub fn targets(self, param: &'static str, value: Value) -> Result<Form, ApiError> {
        let list = match value {
            Value::Array(list) => list,
            other => return Err(wrong_type(param, "a list of strings", &other)),
        };
        if list.is_empty() {
            return Err(ApiError::Invalid { param: param.to_owned(), problem: "must hold at least one string" });
        }
        let (count, limit) = (list.len(), self.targets);
        if count > limit {
            return Err(ApiError::TooMany { param, count, unit: "strings", limit });
        }
        let one = |(index, value)| text(&format!("{param}[{index}]"), value);
        let texts = list.into_iter().enumerate().map(one).collect::<Result<Vec<_>, _>>()?;
        let bytes = texts.iter().map(String::len).sum();
        if bytes > self.target_bytes {
            return Err(ApiError::TooLong { param: param.to_owned(), bytes, limit: self.target_bytes });
        }
        Ok(Form::Targets(texts))
    }

    fn check_bytes(self, param: &str, bytes: usize) -> Result<(), ApiError> {
        let limit = self.grammar_bytes;
        if bytes > limit { Err(ApiError::TooLong { param: param.to_owned(), bytes, limit }) } else { Ok(()) }
    }
}

/// JSON that is valid under a schema, or any object without one.
pub fn json_form(schema: Option<Value>, spacing: Spacing) -> Form {
    let guidance = match spacing {
        Spacing::Usual => return Form::Grammar(schema.map_or(Grammar::JsonObject, Grammar::JsonSchema)),
        Spacing::Compact => json!({"whitespace_flexible": false}),
        Spacing::Pattern(pattern) => json!({"whitespace_pattern": pattern}),
    };
    let mut fields = match schema {
        None => Map::from_iter([("type".to_owned(), "object".into())]),
        Some(Value::Object(fields)) => fields,
        Some(Value::Bool(true)) => Map::new(),
        Some(other) => return Form::Grammar(Grammar::JsonSchema(other)),
    };
    fields.insert("x-guidance".to_owned(), guidance);
    Form::Grammar(Grammar::JsonSchema(fields.into()))
}

/// A form as the field `structured_outputs` has it.
#[derive(Debug, Serialize, ToSchema)]
pub struct RenderedStructure<'a> {
    /// A JSON schema.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    json: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    json_object: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    regex: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    grammar: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    choice: Option<&'a Vec<String>>,
}

impl<'a> RenderedStructure<'a> {
    /// The form as JSON.
    pub fn of(form: &'a Form) -> Self {
        let none = Self { json: None, json_object: None, regex: None, grammar: None, choice: None };
        match form {
            Form::Grammar(Grammar::JsonSchema(schema)) => Self { json: Some(schema), ..none },
            Form::Grammar(Grammar::JsonObject) => Self { json_object: Some(true), ..none },
            Form::Grammar(Grammar::Regex(expression)) => Self { regex: Some(expression), ..none },
            Form::Grammar(Grammar::Lark(text)) => Self { grammar: Some(text), ..none },
            Form::Targets(texts) => Self { choice: Some(texts), ..none },
        }
    }

    /// Bytes of the JSON of a form, about.
    pub fn json_bytes(form: &Form) -> usize {
        match form {
            Form::Grammar(Grammar::JsonSchema(schema)) => schema.to_string().len(),
            Form::Grammar(Grammar::JsonObject) => 0,
            Form::Grammar(Grammar::Regex(text) | Grammar::Lark(text)) => json_bytes(text),
            Form::Targets(texts) => texts.iter().map(|text| 1 + json_bytes(text)).sum(),
        }
    }
}
