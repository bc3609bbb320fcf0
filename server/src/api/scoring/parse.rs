//! From the fields of a body to sources, targets and their pairs.
//!
//! Called by `admission`. Pure: no tokenizer, no engine, no clock.

use super::body::{RerankBody, ScoreBody};
use super::call::{Method, Pair, ScoresForm, ScoringCall, texts};
use super::fields::{
    ADD_SPECIAL_TOKENS, DOCUMENTS, QUERY, RETURN_DOCUMENTS, SOURCE, SOURCES, TARGETS, TOP_N, UNSUPPORTED,
    UNSUPPORTED_IN_RANKINGS,
};
use super::options::read_method;
use crate::api::fields::{Prompt, PromptNames, Prompts, Truncation, read_cache_salt, read_timeout};
use crate::api::generation::RequestBounds;
use crate::api::http::ApiError;
use crate::api::json::Fields;

/// Reads the body of one endpoint against the bounds of a model.
pub type ReadBody = fn(&[u8], &RequestBounds) -> Result<ScoringCall, ApiError>;

/// Reads the body of `POST /v1/score`.
///
/// # Errors
/// The [`ApiError`] of the first rule that it breaks; invalid JSON is reported first.
pub fn parse_score(body: &[u8], bounds: &RequestBounds) -> Result<ScoringCall, ApiError> {
    let ScoreBody { fields, sources, targets } = ScoreBody::read(body, bounds)?;
    let method = read_method(&fields, bounds)?;
    let sources = sources.ok_or(ApiError::Missing { param: SOURCES[0] })??;
    let targets = targets.ok_or(ApiError::Missing { param: TARGETS[0] })??;
    let pairs = match (sources.list.len(), targets.list.len()) {
        (1, count) => (0..count).map(|target| Pair { source: 0, target }).collect(),
        (several, count) if several == count => (0..count).map(|index| Pair { source: index, target: index }).collect(),
        _ => {
            let problem = "must have one text for each source, or there must be one source";
            return Err(ApiError::Invalid { param: targets.names.field().to_owned(), problem });
        }
    };
    let many = targets.names.field();
    call(fields, Texts { sources, targets, pairs, many }, Asked { method, form: ScoresForm::Scores }, bounds)
}

/// Reads the body of `POST /v1/rerank`.
///
/// # Errors
/// The [`ApiError`] of the first rule that it breaks; invalid JSON is reported first.
pub fn parse_rerank(body: &[u8], bounds: &RequestBounds) -> Result<ScoringCall, ApiError> {
    let RerankBody { fields, query, documents } = RerankBody::read(body, bounds)?;
    let method = read_method(&fields, bounds)?;
    let query = query.ok_or(ApiError::Missing { param: QUERY })??;
    let documents = documents.ok_or(ApiError::Missing { param: DOCUMENTS })??;
    let repeats = fields.flag(&RETURN_DOCUMENTS)?;
    let form = ScoresForm::Ranking {
        most: fields.whole(&TOP_N)?.filter(|most| *most > 0).map(|most| usize::try_from(most).unwrap_or(usize::MAX)),
        documents: repeats.then(|| documents.clone()),
    };
    let count = documents.len();
    let documents = texts(documents, PromptNames::Listed(DOCUMENTS));
    let texts = if fields.choice(&SOURCE)? == "query" {
        let pairs = (0..count).map(|target| Pair { source: 0, target }).collect();
        Texts { sources: query, targets: documents, pairs, many: DOCUMENTS }
    } else {
        let limit = bounds.prompts.prompts;
        if count > limit {
            return Err(ApiError::TooMany { param: DOCUMENTS, count, unit: "sources", limit });
        }
        let pairs = (0..count).map(|source| Pair { source, target: 0 }).collect();
        Texts { sources: documents, targets: query, pairs, many: DOCUMENTS }
    };
    UNSUPPORTED_IN_RANKINGS.check(&fields)?;
    call(fields, texts, Asked { method, form }, bounds)
}

/// Texts with their sides.
struct Texts {
    sources: Prompts,
    targets: Prompts,
    pairs: Vec<Pair>,
    /// The field that may have many texts.
    many: &'static str,
}

/// The manner of scoring, and of the answer.
struct Asked {
    method: Method,
    form: ScoresForm,
}

fn call(fields: Fields, texts: Texts, asked: Asked, bounds: &RequestBounds) -> Result<ScoringCall, ApiError> {
    let Texts { sources, targets, pairs, many } = texts;
    let Asked { method, form } = asked;
    let has_text = |prompts: &&Prompts| prompts.list.iter().any(|prompt| matches!(prompt, Prompt::Text(_)));
    if !bounds.takes_text
        && let Some(prompts) = [&sources, &targets].into_iter().find(has_text)
    {
        let instead = "give token ids to /v1/score";
        return Err(ApiError::NeedsTokenizer { param: prompts.names.field(), instead });
    }
    let call = ScoringCall {
        texts: sources.list.len() + targets.list.len(),
        sources,
        targets,
        pairs,
        many,
        method,
        add_special_tokens: fields.flag(&ADD_SPECIAL_TOKENS)?,
        truncation: Truncation::read(&fields, bounds.prompts.ids.most)?,
        cache_salt: read_cache_salt(&fields)?,
        timeout: read_timeout(&fields)?,
        form,
    };
    UNSUPPORTED.check(&fields)?;
    fields.finish()?;
    Ok(call)
}
