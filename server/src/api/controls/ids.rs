//! A list of token ids of which none may be missing.
//!
//! Read by `draft` and `bad_words`.

use serde::de::SeqAccess;

use crate::api::fields::{IdBounds, IdReader, Ids};
use crate::api::http::ApiError;
use crate::api::json::{Brief, Shape};

/// Reads a list of ids; nothing comes of `null`.
pub struct IdListShape {
    /// Name of the field.
    pub param: &'static str,
    /// Bounds of the list; a longer one is refused.
    pub bounds: IdBounds,
}

impl Shape for IdListShape {
    type Read = Option<Result<Vec<u32>, ApiError>>;

    fn list<'de, A: SeqAccess<'de>>(self, list: A) -> Result<Self::Read, A::Error> {
        let Self { param, bounds } = self;
        let read = IdReader::new(param.to_owned(), bounds).read(list)?;
        Ok(Some(read.and_then(|Ids { kept, count }| match count > bounds.most {
            true => Err(ApiError::TooMany { param, count, unit: "token ids", limit: bounds.most }),
            false => Ok(kept),
        })))
    }

    fn other(self, value: Brief) -> Self::Read {
        let (expected, found) = ("a list of token ids", value.kind());
        (value != Brief::Null).then(|| Err(ApiError::WrongType { param: self.param.to_owned(), expected, found }))
    }
}
