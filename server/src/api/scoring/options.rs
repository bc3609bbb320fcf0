//! The fields that say how pairs are scored.
//!
//! Used by `parse`.

use super::call::Method;
use super::fields::{LENGTH_NORMALIZE, METHOD, SCORE_END};
use crate::api::http::ApiError;
use crate::api::json::Fields;

/// Fields that change nothing about embeddings.
const OF_LIKELIHOOD: [&str; 2] = [LENGTH_NORMALIZE.name, SCORE_END.name];

/// Reads how pairs are scored.
///
/// # Errors
/// The error of the first field that is wrong.
pub fn read_method(fields: &Fields) -> Result<Method, ApiError> {
    match fields.text(METHOD.name)?.as_deref() {
        None | Some("likelihood") => {
            Ok(Method::Likelihood { per_token: fields.flag(&LENGTH_NORMALIZE)?, with_end: fields.flag(&SCORE_END)? })
        }
        Some("embedding") => match OF_LIKELIHOOD.into_iter().find(|name| fields.get(name).is_some()) {
            None => Ok(Method::Embedding),
            Some(name) => {
                let problem = "is only allowed when 'method' is \"likelihood\"";
                Err(ApiError::Invalid { param: name.to_owned(), problem })
            }
        },
        Some(_) => {
            let problem = "must be \"likelihood\" or \"embedding\"";
            Err(ApiError::Invalid { param: METHOD.name.to_owned(), problem })
        }
    }
}
