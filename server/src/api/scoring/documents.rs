//! `documents` of a reranking request: strings, or objects with a `text` as Cohere's first version has them.
//!
//! Read by `body`.

use serde::de::{MapAccess, SeqAccess};

use super::fields::DOCUMENTS;
use crate::api::http::ApiError;
use crate::api::json::{Brief, Shape, Shaped, TextShape, skip_rest};

const TEXT: &str = "text";

/// Reads `documents`, at most this many; nothing comes of `null`.
pub struct DocumentsShape(pub usize);

impl Shape for DocumentsShape {
    type Read = Option<Result<Vec<String>, ApiError>>;

    fn list<'de, A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Read, A::Error> {
        let Self(limit) = self;
        let mut read = Vec::new();
        while read.len() < limit {
            match list.next_element_seed(Shaped(DocumentShape(read.len())))? {
                None => break,
                Some(document) => read.push(document),
            }
        }
        let count = read.len() + skip_rest(list)?;
        Ok(Some(match count {
            0 => Err(ApiError::Invalid { param: DOCUMENTS.to_owned(), problem: "must not be an empty list" }),
            _ if count > limit => Err(ApiError::TooMany { param: DOCUMENTS, count, unit: "documents", limit }),
            _ => read.into_iter().collect(),
        }))
    }

    fn other(self, value: Brief) -> Self::Read {
        let (expected, found) = ("a list of strings", value.kind());
        (value != Brief::Null).then(|| Err(ApiError::WrongType { param: DOCUMENTS.to_owned(), expected, found }))
    }
}

/// The document of this index.
struct DocumentShape(usize);

impl DocumentShape {
    fn wrong_type(&self, found: &'static str) -> ApiError {
        let param = format!("{DOCUMENTS}[{}]", self.0);
        ApiError::WrongType { param, expected: "a string or an object with a 'text'", found }
    }
}

impl Shape for DocumentShape {
    type Read = Result<String, ApiError>;

    fn text(self, text: &str) -> Self::Read {
        Ok(text.to_owned())
    }

    fn object<'de, A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Read, A::Error> {
        let mut read = None;
        let mut has_others = false;
        while let Some(name) = object.next_key::<String>()? {
            let value = object.next_value_seed(Shaped(TextShape))?;
            if name == TEXT {
                read = Some(value);
            } else {
                has_others = true;
            }
        }
        let param = format!("{DOCUMENTS}[{}]", self.0);
        Ok(match read {
            // What else a document holds would have to be ranked as well.
            _ if has_others => Err(ApiError::Invalid { param, problem: "must have 'text' as its only field" }),
            None => Err(self.wrong_type("an object without one")),
            Some(Ok(text)) => Ok(text),
            Some(Err(found)) => {
                Err(ApiError::WrongType { param: format!("{param}.{TEXT}"), expected: "a string", found })
            }
        })
    }

    fn other(self, value: Brief) -> Self::Read {
        Err(self.wrong_type(value.kind()))
    }
}
