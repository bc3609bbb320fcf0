//! From the fields of a body to sources, targets and their pairs.
//!
//! Called by `admission`. Pure: no tokenizer, no engine, no clock.

use super::body::{RerankBody, ScoreBody};
use super::call::{Pair, ScoresForm, ScoringCall, texts};
use super::fields::{
    ADD_SPECIAL_TOKENS, DOCUMENTS, QUERY, RETURN_DOCUMENTS, SOURCE, SOURCES, TARGETS, TOP_N, UNSUPPORTED,
    UNSUPPORTED_IN_RANKINGS,
};
use super::options::read_method;
use crate::api::fields::{MODEL, Prompt, PromptNames, Prompts, read_cache_salt};
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
    let sources = sources.ok_or(ApiError::Missing { param: SOURCES[0] })??;
    let targets = targets.ok_or(ApiError::Missing { param: TARGETS[0] })??;
    let pairs = match (sources.list.len(), targets.list.len()) {
        (1, count) => (0..count).map(|target| Pair { source: 0, target }).collect(),
        (several, count) if several == count => (0..count).map(|index| Pair { source: index, target: index }).collect(),
        _ => {
            let problem = "must have one text for each source, or there must be one source";
            return Err(ApiError::Invalid { param: TARGETS[0].to_owned(), problem });
        }
    };
    call(fields, Texts { sources, targets, pairs }, ScoresForm::Scores, bounds)
}

/// Reads the body of `POST /v1/rerank`.
///
/// # Errors
/// The [`ApiError`] of the first rule that it breaks; invalid JSON is reported first.
pub fn parse_rerank(body: &[u8], bounds: &RequestBounds) -> Result<ScoringCall, ApiError> {
    let RerankBody { fields, query, documents } = RerankBody::read(body, bounds)?;
    let query = query.ok_or(ApiError::Missing { param: QUERY })??;
    let documents = documents.ok_or(ApiError::Missing { param: DOCUMENTS })??;
    let repeats = fields.flag(&RETURN_DOCUMENTS)?;
    let form = ScoresForm::Ranking {
        most: fields.whole(&TOP_N)?.filter(|most| *most > 0).map(|most| usize::try_from(most).unwrap_or(usize::MAX)),
        documents: repeats.then(|| documents.clone()),
    };
    let count = documents.len();
    let documents = texts(documents, PromptNames::Listed(DOCUMENTS));
    let texts = match fields.text(SOURCE.name)?.as_deref() {
        None | Some("query") => {
            let pairs = (0..count).map(|target| Pair { source: 0, target }).collect();
            Texts { sources: query, targets: documents, pairs }
        }
        Some("documents") => {
            let limit = bounds.prompts.prompts;
            if count > limit {
                return Err(ApiError::TooMany { param: DOCUMENTS, count, unit: "sources", limit });
            }
            let pairs = (0..count).map(|source| Pair { source, target: 0 }).collect();
            Texts { sources: documents, targets: query, pairs }
        }
        Some(_) => {
            let problem = "must be \"query\" or \"documents\"";
            return Err(ApiError::Invalid { param: SOURCE.name.to_owned(), problem });
        }
    };
    UNSUPPORTED_IN_RANKINGS.check(&fields, 1)?;
    call(fields, texts, form, bounds)
}

/// Texts with their sides.
struct Texts {
    sources: Prompts,
    targets: Prompts,
    pairs: Vec<Pair>,
}

fn call(fields: Fields, texts: Texts, form: ScoresForm, bounds: &RequestBounds) -> Result<ScoringCall, ApiError> {
    let Texts { sources, targets, pairs } = texts;
    let is_text = |prompt: &Prompt| matches!(prompt, Prompt::Text(_));
    if !bounds.takes_text && sources.list.iter().chain(&targets.list).any(is_text) {
        let param = if matches!(form, ScoresForm::Scores) { SOURCES[0] } else { DOCUMENTS };
        return Err(ApiError::NeedsTokenizer { param, instead: "give token ids to /v1/score" });
    }
    let call = ScoringCall {
        model: fields.text(MODEL.name)?,
        sources,
        targets,
        pairs,
        method: read_method(&fields)?,
        add_special_tokens: fields.flag(&ADD_SPECIAL_TOKENS)?,
        cache_salt: read_cache_salt(&fields)?,
        form,
    };
    UNSUPPORTED.check(&fields, 1)?;
    fields.finish()?;
    Ok(call)
}
