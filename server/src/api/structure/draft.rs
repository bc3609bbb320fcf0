//! The fields of structured output, as they are read, and the one form that they give.
//!
//! Part of the drafts of single endpoints. Errors wait until the whole body was read.

use std::sync::Arc;

use serde::de::MapAccess;
use serde_json::Value;

use super::bounded_json::BoundedJsonShape;
use super::declared::{
    ALLOWED_TARGETS, GUIDED_CHOICE, GUIDED_GRAMMAR, GUIDED_JSON, GUIDED_REGEX, GUIDED_WHITESPACE_PATTERN,
    RESPONSE_FORMAT, STRUCTURE, STRUCTURED_OUTPUTS, StructureBounds,
};
use super::form_text::{Spacing, json_form};
use super::given::GivenStructure;
use super::members::text;
use super::response_format::read_response_format;
use super::structured_outputs::read_structured_outputs;
use crate::api::http::ApiError;
use crate::constraint::{Form, Grammar};

/// Bytes of a field around its schema, grammar or strings.
const AROUND: usize = 4096;

/// The fields, as far as they were given.
#[derive(Debug, Default)]
pub struct StructureDraft {
    values: Vec<(&'static str, Result<Value, ApiError>)>,
    /// A form that another field gives.
    other: Option<GivenStructure>,
}

impl StructureDraft {
    /// Whether a field of this name is read here.
    pub fn takes(name: &str) -> bool {
        STRUCTURE.iter().any(|field| field.name == name)
    }

    /// Reads the value of a field that is read here.
    ///
    /// # Errors
    /// When it is no JSON.
    pub fn read<'de, A: MapAccess<'de>>(
        &mut self,
        name: &'static str,
        object: &mut A,
        bounds: StructureBounds,
    ) -> Result<(), A::Error> {
        // A schema may be a text of JSON, in which every quote takes two bytes.
        let most = AROUND + (2 * bounds.grammar_bytes).max(2 * bounds.target_bytes);
        let read = object.next_value_seed(BoundedJsonShape { param: name, most })?;
        self.values.retain(|(other, _)| *other != name);
        self.values.extend(read.map(|value| (name, value)));
        Ok(())
    }

    /// Adds a form that a field outside gives.
    pub fn with(self, other: Option<GivenStructure>) -> Self {
        Self { other, ..self }
    }

    /// The form that the fields give, for a model that takes text or not.
    ///
    /// # Errors
    /// The [`ApiError`] of the first field that is wrong, or when several give a form.
    pub fn given(self, bounds: StructureBounds, takes_text: bool) -> Result<Option<Arc<GivenStructure>>, ApiError> {
        let mut values = self.values;
        let mut take = |name| {
            let found = values.iter().position(|(given, _)| *given == name);
            found.map(|index| values.swap_remove(index).1).transpose()
        };
        let spacing =
            take(GUIDED_WHITESPACE_PATTERN)?.map(|value| text(GUIDED_WHITESPACE_PATTERN, value)).transpose()?;
        let spaced = spacing.is_some();
        let mut spacing = spacing.map_or(Spacing::Usual, Spacing::Pattern);
        let mut given = self.other;
        for name in FORMS {
            let Some(value) = take(name)? else { continue };
            let Some(form) = read_form(name, value, bounds, &mut spacing)? else { continue };
            if given.is_some() {
                let problem = "gives the answer a form, and another field does so, too: give one of them";
                return Err(ApiError::Invalid { param: name.to_owned(), problem });
            }
            given = Some(GivenStructure { param: name, form });
        }
        if spaced && given.as_ref().is_none_or(|given| given.param != GUIDED_JSON) {
            let problem = "is only allowed with 'guided_json'";
            return Err(ApiError::Invalid { param: GUIDED_WHITESPACE_PATTERN.to_owned(), problem });
        }
        match given {
            Some(given) if !takes_text => Err(ApiError::NeedsTokenizer { param: given.param, instead: "leave it out" }),
            given => Ok(given.map(Arc::new)),
        }
    }
}

/// Fields that give a form.
const FORMS: [&str; 7] =
    [RESPONSE_FORMAT, STRUCTURED_OUTPUTS, ALLOWED_TARGETS, GUIDED_JSON, GUIDED_REGEX, GUIDED_CHOICE, GUIDED_GRAMMAR];

fn read_form(
    name: &'static str,
    value: Value,
    bounds: StructureBounds,
    spacing: &mut Spacing,
) -> Result<Option<Form>, ApiError> {
    match name {
        RESPONSE_FORMAT => read_response_format(name, value, bounds),
        STRUCTURED_OUTPUTS => read_structured_outputs(value, bounds),
        GUIDED_JSON => Ok(Some(json_form(Some(bounds.schema(name, value)?), std::mem::take(spacing)))),
        GUIDED_REGEX => Ok(Some(Form::Grammar(Grammar::Regex(bounds.grammar_text(name, value)?)))),
        GUIDED_GRAMMAR => Ok(Some(Form::Grammar(Grammar::Lark(bounds.grammar_text(name, value)?)))),
        _ => bounds.targets(name, value).map(Some),
    }
}
