//! `cache_salt`: who shares encoded sources.
//!
//! Read by the rooms of endpoints that encode sources.

use super::declared::CACHE_SALT;
use crate::api::http::ApiError;
use crate::api::json::Fields;

/// Reads the field.
///
/// # Errors
/// When it is no text, empty, or longer than a secret.
pub fn read_cache_salt(fields: &Fields) -> Result<Option<String>, ApiError> {
    match fields.text(CACHE_SALT.name)? {
        Some(salt) if salt.is_empty() => {
            let problem = "must not be empty; leave it out to share sources";
            Err(ApiError::Invalid { param: "cache_salt".to_owned(), problem })
        }
        salt => Ok(salt),
    }
}
