//! `structured_outputs`: vLLM's parameters of structured output.
//!
//! Used by `draft`.

use serde_json::Value;

use super::declared::StructureBounds;
use super::form_text::{Spacing, json_form};
use super::members::Members;
use crate::api::http::ApiError;
use crate::constraint::{Form, Grammar};

const PARAM: &str = "structured_outputs";
const CHOICE: &str = "structured_outputs.choice";
const ONE_OF: &str = "must hold exactly one of json, regex, choice, grammar and json_object";

/// Reads its value.
///
/// # Errors
/// The [`ApiError`] of the first member that is wrong.
pub fn read_structured_outputs(value: Value, bounds: StructureBounds) -> Result<Option<Form>, ApiError> {
    let mut members = Members::of(PARAM, value)?;
    let spacing = read_spacing(&mut members)?;
    let closes_objects = members.take_flag("disable_additional_properties")?.unwrap_or(false);
    // There is one compiler, and what it refuses is refused.
    members.take_flag("disable_fallback")?;
    if members.take("structural_tag").is_some() {
        let problem = "is not supported: this server's models call no tools. Give a 'grammar' instead";
        return Err(ApiError::Invalid { param: members.name("structural_tag"), problem });
    }
    let mut forms = Vec::new();
    if let Some(schema) = members.take("json") {
        let mut schema = bounds.schema(&members.name("json"), schema)?;
        if closes_objects {
            close_objects(&mut schema);
        }
        forms.push(json_form(Some(schema), spacing.clone()));
    }
    if members.take_flag("json_object")? == Some(true) {
        forms.push(json_form(None, spacing.clone()));
    }
    let is_json = !forms.is_empty();
    if let Some(expression) = members.take("regex") {
        forms.push(Form::Grammar(Grammar::Regex(bounds.grammar_text(&members.name("regex"), expression)?)));
    }
    if let Some(grammar) = members.take("grammar") {
        forms.push(Form::Grammar(Grammar::Lark(bounds.grammar_text(&members.name("grammar"), grammar)?)));
    }
    if let Some(choice) = members.take("choice") {
        forms.push(bounds.targets(CHOICE, choice)?);
    }
    if !is_json && (spacing != Spacing::Usual || closes_objects) {
        let problem = "says how JSON is written: only with json or json_object may it hold more than one of regex, \
                       choice and grammar";
        return Err(ApiError::Invalid { param: PARAM.to_owned(), problem });
    }
    members.finish()?;
    match forms.pop() {
        Some(form) if forms.is_empty() => Ok(Some(form)),
        _ => Err(ApiError::Invalid { param: PARAM.to_owned(), problem: ONE_OF }),
    }
}

fn read_spacing(members: &mut Members) -> Result<Spacing, ApiError> {
    let pattern = members.take_text("whitespace_pattern")?;
    match (members.take_flag("disable_any_whitespace")?, pattern) {
        (Some(true), Some(_)) => {
            let problem = "and 'disable_any_whitespace' exclude each other";
            Err(ApiError::Invalid { param: members.name("whitespace_pattern"), problem })
        }
        (Some(true), None) => Ok(Spacing::Compact),
        (_, Some(pattern)) => Ok(Spacing::Pattern(pattern)),
        (_, None) => Ok(Spacing::Usual),
    }
}

/// Lets objects with declared properties have no others, where the schema does not say.
fn close_objects(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            fields.values_mut().for_each(close_objects);
            let declares = fields.contains_key("properties") || fields.contains_key("patternProperties");
            if declares && !fields.contains_key("additionalProperties") {
                fields.insert("additionalProperties".to_owned(), false.into());
            }
        }
        Value::Array(list) => list.iter_mut().for_each(close_objects),
        _ => {}
    }
}
