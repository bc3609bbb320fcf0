//! Bodies of both endpoints, read field by field.
//!
//! Used by `parse`, which knows what the fields mean.

use serde::de::MapAccess;

use super::documents::DocumentsShape;
use super::fields::{DOCUMENTS, QUERY, RERANK_FIELDS, SCORE_FIELDS, SOURCES, TARGETS};
use crate::api::fields::{IdBounds, PromptBounds, Prompts, PromptsShape};
use crate::api::generation::RequestBounds;
use crate::api::http::ApiError;
use crate::api::json::{Brief, Fields, Shape, Shaped, read_body};

/// Fields of a scoring request.
#[derive(Debug)]
pub struct ScoreBody {
    /// Scalar fields, and the names of unknown ones.
    pub fields: Fields,
    /// Sources, under the name that was given.
    pub sources: Option<Result<Prompts, ApiError>>,
    /// Targets, under the name that was given.
    pub targets: Option<Result<Prompts, ApiError>>,
}

/// Fields of a reranking request.
#[derive(Debug)]
pub struct RerankBody {
    /// Scalar fields, and the names of unknown ones.
    pub fields: Fields,
    /// `query`.
    pub query: Option<Result<Prompts, ApiError>>,
    /// `documents`.
    pub documents: Option<Result<Vec<String>, ApiError>>,
}

impl ScoreBody {
    /// Reads a body.
    ///
    /// # Errors
    /// When it is no JSON object.
    pub fn read(body: &[u8], bounds: &RequestBounds) -> Result<Self, ApiError> {
        read_body(body, ScoreShape(bounds))
    }
}

impl RerankBody {
    /// Reads a body.
    ///
    /// # Errors
    /// When it is no JSON object.
    pub fn read(body: &[u8], bounds: &RequestBounds) -> Result<Self, ApiError> {
        read_body(body, RerankShape(bounds))
    }
}

struct ScoreShape<'a>(&'a RequestBounds);

impl Shape for ScoreShape<'_> {
    type Read = Result<ScoreBody, ApiError>;

    fn object<'de, A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Read, A::Error> {
        let Self(bounds) = self;
        let mut fields = Fields::new(&SCORE_FIELDS, "");
        let (mut sources, mut targets) = (Side::default(), Side::default());
        while let Some(name) = fields.next_known(&mut object)? {
            let (side, most) = if SOURCES.contains(&name) {
                (&mut sources, bounds.prompts.prompts)
            } else if TARGETS.contains(&name) {
                (&mut targets, bounds.total_choices)
            } else {
                fields.set(name, object.next_value()?);
                continue;
            };
            let read = object.next_value_seed(Shaped(PromptsShape {
                param: name,
                bounds: texts(bounds, most),
                takes_empty: false,
            }))?;
            side.set(name, read);
        }
        Ok(Ok(ScoreBody { fields, sources: sources.read, targets: targets.read }))
    }

    fn other(self, value: Brief) -> Self::Read {
        Err(ApiError::NotAnObject { found: value.kind() })
    }
}

/// Bounds that hold for sources and targets alike: which side a text is on may not be known yet, nor whether it is
/// truncated.
fn texts(bounds: &RequestBounds, prompts: usize) -> PromptBounds {
    let (source, target) = (bounds.prompts.ids, bounds.decoder_prompt);
    let ids = IdBounds { vocab: source.vocab.max(target.vocab), most: usize::MAX };
    PromptBounds { prompts, ids }
}

/// One side of the pairs, which has several names.
#[derive(Default)]
struct Side {
    name: Option<&'static str>,
    read: Option<Result<Prompts, ApiError>>,
}

impl Side {
    fn set(&mut self, name: &'static str, read: Option<Result<Prompts, ApiError>>) {
        let Some(read) = read else { return };
        let is_twice = self.name.is_some_and(|other| other != name);
        self.name = Some(name);
        let problem = "is another name of a field that is given as well: leave one of them out";
        self.read = Some(if is_twice { Err(ApiError::Invalid { param: name.to_owned(), problem }) } else { read });
    }
}

struct RerankShape<'a>(&'a RequestBounds);

impl Shape for RerankShape<'_> {
    type Read = Result<RerankBody, ApiError>;

    fn object<'de, A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Read, A::Error> {
        let Self(bounds) = self;
        let mut fields = Fields::new(&RERANK_FIELDS, "");
        let (mut query, mut documents) = (None, None);
        while let Some(name) = fields.next_known(&mut object)? {
            match name {
                QUERY => {
                    query = object.next_value_seed(Shaped(PromptsShape {
                        param: QUERY,
                        bounds: texts(bounds, 1),
                        takes_empty: false,
                    }))?;
                }
                DOCUMENTS => documents = object.next_value_seed(Shaped(DocumentsShape(bounds.total_choices)))?,
                scalar => fields.set(scalar, object.next_value()?),
            }
        }
        Ok(Ok(RerankBody { fields, query, documents }))
    }

    fn other(self, value: Brief) -> Self::Read {
        Err(ApiError::NotAnObject { found: value.kind() })
    }
}
