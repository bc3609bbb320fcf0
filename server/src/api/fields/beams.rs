//! The fields of a body that ask for a beam search.
//!
//! Read by the rooms of generating endpoints. Without `use_beam_search` the others change nothing or are refused.

use kernels::Sampling;
use serde_json::Value;
use utoipa::openapi::schema::{SchemaType, Type};
use utoipa::openapi::{ObjectBuilder, Schema};

use super::declared::STREAM;
use super::numbers::to_u32;
use crate::api::http::ApiError;
use crate::api::json::{Brief, Field, Fields, LimitValues, Most, any_of};
use crate::request::{BeamSearch, EarlyStopping};

const USE_BEAM_SEARCH: Field = Field::boolean("use_beam_search")
    .about("The choices are the `n` best hypotheses of one beam search, best first, each with its `score`. See below.");
const BEST_OF: Field = Field::integer("best_of", 1, Most::Limit("choices")).absent("`n`").about(
    "`n` to {choices}. So many continuations are generated, and the `n` with the highest mean log-probability of a \
     token are returned, best first; all of them count in `usage`. Not with `stream`. With `use_beam_search` the width \
     of the search, at least 2.",
);
const LENGTH_PENALTY: Field = Field::number("length_penalty", -5.0, 5.0).or("1").about(
    "-5 to 5: the score of a hypothesis of `l` tokens is the sum of their log-probabilities divided by \
     `l` to this power. Only with `use_beam_search`.",
);
const EARLY_STOPPING: Field = Field::shape("early_stopping", early_stopping_schema).or("false").about(
    "When the search ends before its beams do. `true`: when there are as many hypotheses as it is wide; `false`: when \
     no beam would score better at its present length; `\"never\"`: when none can at any length. Only with \
     `use_beam_search`.",
);

const USE_BEAM_SEARCH_OF_RESPONSE: Field = Field::boolean(USE_BEAM_SEARCH.name)
    .about("The text is the best hypothesis of a beam search, with its `score`, as in [completions](#generation).");
const BEST_OF_RESPONSE: Field = Field::integer(BEST_OF.name, 1, Most::Limit("choices"))
    .absent("2")
    .about("Width of the beam search, 2 to {choices}. Without `use_beam_search` only 1.");

/// The fields of a response, which has one choice.
pub const BEAMS_OF_RESPONSE: [Field; 4] =
    [USE_BEAM_SEARCH_OF_RESPONSE, BEST_OF_RESPONSE, LENGTH_PENALTY, EARLY_STOPPING];

/// The fields.
pub const BEAMS: [Field; 4] = [USE_BEAM_SEARCH, BEST_OF, LENGTH_PENALTY, EARLY_STOPPING];

fn early_stopping_schema(_: &LimitValues) -> Schema {
    let truth = ObjectBuilder::new().schema_type(Type::Boolean);
    let never = ObjectBuilder::new().schema_type(SchemaType::AnyValue).enum_values(Some([Value::from("never")]));
    any_of([truth.into(), never.into()])
}

/// The given field that decides how many rows each prompt takes.
pub fn rows_field(fields: &Fields) -> Option<&'static str> {
    [BEST_OF.name, "n"].into_iter().find(|name| fields.get(name).is_some())
}

/// The part of a body that a search is checked against.
#[derive(Debug, Clone, Copy)]
pub struct BesideBeams {
    /// Number of choices.
    pub choices: u32,
    /// Largest width.
    pub most: u32,
    /// The sampling that the body asks for.
    pub sampling: Sampling,
    /// The search of a body that says nothing.
    pub default: BeamSearch,
}

/// Reads the search, if one is asked for.
///
/// # Errors
/// When a field has a value of another type or out of its range, or one that has no meaning beside the others.
pub fn read_beams(fields: &Fields, beside: BesideBeams) -> Result<Option<BeamSearch>, ApiError> {
    let draws = check_sampling(fields, beside.sampling);
    let is_asked = match fields.boolean(USE_BEAM_SEARCH.name)? {
        Some(is_asked) => is_asked,
        None => beside.default.width > 1 && draws.is_ok(),
    };
    let best_of = fields.whole_up_to(&BEST_OF, beside.most.into())?.map(to_u32);
    let gives = |field: Field| fields.get(field.name).is_some();
    let length_penalty = fields.real(&LENGTH_PENALTY)?;
    let early_stopping = read_early_stopping(fields)?;
    if !is_asked {
        let needs = |field: Field| Err(invalid(field.name, "has a meaning only with 'use_beam_search'"));
        return match () {
            () if length_penalty != 1.0 => needs(LENGTH_PENALTY),
            () if early_stopping != EarlyStopping::Unlikely => needs(EARLY_STOPPING),
            () => Ok(None),
        };
    }
    draws?;
    let BeamSearch { width: default, .. } = beside.default;
    let width = best_of.unwrap_or(beside.choices.max(default).max(2));
    if width < 2.max(beside.choices) || width > beside.most {
        let range = format!("between 2 and {}, and at least 'n'", beside.most);
        return Err(ApiError::OutOfRange { param: BEST_OF.name, value: width.to_string(), range });
    }
    Ok(Some(BeamSearch {
        width,
        length_penalty: if gives(LENGTH_PENALTY) { length_penalty } else { beside.default.length_penalty },
        early_stopping: if gives(EARLY_STOPPING) { early_stopping } else { beside.default.early_stopping },
    }))
}

/// Reads the search of a response, if one is asked for.
///
/// # Errors
/// As [`read_beams`], and for a width without a search.
pub fn read_beams_of_response(fields: &Fields, beside: BesideBeams) -> Result<Option<BeamSearch>, ApiError> {
    let beams = read_beams(fields, beside)?;
    let width = fields.whole_up_to(&BEST_OF_RESPONSE, beside.most.into())?.map_or(1, to_u32);
    if beams.is_none() && width != 1 {
        return Err(invalid(BEST_OF.name, "has a meaning only with 'use_beam_search'"));
    }
    Ok(beams)
}

/// Reads how many continuations are generated of which the choices are the best, where these are more than the choices.
///
/// # Errors
/// When they are fewer than the choices or more than `most`, or beside a stream.
pub fn read_best_of(fields: &Fields, choices: u32, most: u32) -> Result<Option<u32>, ApiError> {
    let Some(best_of) = fields.whole_up_to(&BEST_OF, most.into())?.map(to_u32) else { return Ok(None) };
    if best_of < choices {
        let range = format!("at least 'n' ({choices})");
        return Err(ApiError::OutOfRange { param: BEST_OF.name, value: best_of.to_string(), range });
    }
    if best_of > choices && fields.flag(&STREAM)? {
        let problem = "and 'stream' exclude each other: which continuations are the best is known at their end";
        return Err(invalid(BEST_OF.name, problem));
    }
    Ok((best_of > choices).then_some(best_of))
}

fn read_early_stopping(fields: &Fields) -> Result<EarlyStopping, ApiError> {
    let name = EARLY_STOPPING.name;
    match fields.get(name) {
        None | Some(Brief::Boolean(false)) => Ok(EarlyStopping::Unlikely),
        Some(Brief::Boolean(true)) => Ok(EarlyStopping::Full),
        Some(value) if *value == Brief::text("never") => Ok(EarlyStopping::Impossible),
        Some(other) => {
            let expected = "true, false or \"never\"";
            Err(ApiError::WrongType { param: name.to_owned(), expected, found: other.kind() })
        }
    }
}

/// Refuses fields that ask for drawn tokens: a search draws none.
fn check_sampling(fields: &Fields, sampling: Sampling) -> Result<(), ApiError> {
    let asks = [
        ("temperature", sampling.temperature != 0.0),
        ("top_k", sampling.top_k != 0),
        ("top_p", sampling.top_p != 1.0),
        ("min_p", sampling.min_p != 0.0),
    ];
    let asked = asks.into_iter().find(|(name, asks)| *asks && fields.get(name).is_some());
    let problem = "and 'use_beam_search' exclude each other: a search draws no tokens";
    asked.map_or(Ok(()), |(name, _)| Err(invalid(name, problem)))
}

fn invalid(param: &str, problem: &'static str) -> ApiError {
    ApiError::Invalid { param: param.to_owned(), problem }
}
