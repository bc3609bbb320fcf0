//! `include`: names of further parts of the answer.
//!
//! Read by `draft`.

use serde::de::SeqAccess;
use utoipa::openapi::Schema;

use super::fields::INCLUDE;
use crate::api::http::ApiError;
use crate::api::json::{Brief, LimitValues, Shape, list_schema, skip_rest, text_schema};

const LOG_PROBS: &str = "message.output_text.logprobs";
/// Names of what no answer of this server has.
const ABSENT: [&str; 7] = [
    "code_interpreter_call.outputs",
    "computer_call_output.output.image_url",
    "file_search_call.results",
    "message.input_image.image_url",
    "reasoning.encrypted_content",
    "web_search_call.action.sources",
    "web_search_call.results",
];

/// The schema of the list.
pub fn include_schema(_: &LimitValues) -> Schema {
    let names = ABSENT.into_iter().chain([LOG_PROBS]);
    list_schema(text_schema().enum_values(Some(names))).into()
}

/// Further parts of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Included {
    /// Log-probabilities of the tokens.
    pub log_probs: bool,
}

/// Reads the list; nothing comes of `null`.
pub struct IncludeShape;

impl Shape for IncludeShape {
    type Read = Option<Result<Included, ApiError>>;

    fn list<'de, A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Read, A::Error> {
        let mut included = Included::default();
        let mut count = 0;
        while let Some(name) = list.next_element::<Brief>()? {
            if name == Brief::text(LOG_PROBS) {
                included.log_probs = true;
            } else if !ABSENT.iter().any(|absent| name == Brief::text(absent)) {
                skip_rest(list)?;
                let problem = "must be the name of a part of a response, such as message.output_text.logprobs";
                return Ok(Some(Err(ApiError::Invalid { param: format!("{INCLUDE}[{count}]"), problem })));
            }
            count += 1;
        }
        Ok(Some(Ok(included)))
    }

    fn other(self, value: Brief) -> Self::Read {
        let (param, expected, found) = (INCLUDE.to_owned(), "a list of strings", value.kind());
        (value != Brief::Null).then_some(Err(ApiError::WrongType { param, expected, found }))
    }
}
