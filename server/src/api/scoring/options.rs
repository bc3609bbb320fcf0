//! The fields that say how pairs are scored.
//!
//! Used by `parse`.

use super::call::Method;
use super::fields::{LENGTH_NORMALIZE, METHOD, SCORE_END};
use crate::api::generation::RequestBounds;
use crate::api::http::ApiError;
use crate::api::json::Fields;
use crate::request::Refusal;

/// Fields that change nothing about embeddings.
const OF_LIKELIHOOD: [&str; 2] = [LENGTH_NORMALIZE.name, SCORE_END.name];

/// Reads how pairs are scored.
///
/// # Errors
/// [`Refusal::NoDecoder`] when the model lacks what the method needs, else the error of the first field that is wrong.
pub fn read_method(fields: &Fields, bounds: &RequestBounds) -> Result<Method, ApiError> {
    if fields.choice(&METHOD)? == "likelihood" {
        if !bounds.generates {
            return Err(Refusal::NoDecoder.into());
        }
        return Ok(Method::Likelihood {
            per_token: fields.flag(&LENGTH_NORMALIZE)?,
            with_end: fields.flag(&SCORE_END)?,
        });
    }
    match OF_LIKELIHOOD.into_iter().find(|name| fields.get(name).is_some()) {
        None => Ok(Method::Embedding),
        Some(name) => {
            let problem = "is only allowed when 'method' is \"likelihood\"";
            Err(ApiError::Invalid { param: name.to_owned(), problem })
        }
    }
}
