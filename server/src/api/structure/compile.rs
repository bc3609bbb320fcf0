//! Has the form of a request compiled for its model.
//!
//! Used by `generation`, after everything else is checked.

use std::time::Instant;

use super::given::GivenStructure;
use crate::api::http::ApiError;
use crate::constraint::{FormError, GrammarError, TargetsError};
use crate::registry::ServedModel;
use crate::request::Constraint;
use crate::source_sharing::Client;

/// The constraint that a form is, compiled when it is the client's turn.
///
/// # Errors
/// With the reason for which no answer of this model can have the form.
pub async fn compiled(model: &ServedModel, given: &GivenStructure, client: &Client) -> Result<Constraint, ApiError> {
    let compiler = model.compiler.as_ref();
    let compiler = compiler.ok_or(ApiError::NeedsTokenizer { param: given.param, instead: "leave it out" })?;
    let start = Instant::now();
    let compiled = compiler.compile(&given.form, &client.party()).await;
    let metrics = &model.metrics.requests;
    match compiled {
        Ok(compiled) if compiled.was_there => {
            metrics.form_cache_hits.inc();
            Ok(compiled.constraint)
        }
        Ok(compiled) => {
            metrics.form_seconds.observe(start.elapsed().as_secs_f64());
            Ok(compiled.constraint)
        }
        Err(error) => {
            metrics.form_seconds.observe(start.elapsed().as_secs_f64());
            Err(refused(given.param, error))
        }
    }
}

fn refused(param: &str, error: FormError) -> ApiError {
    match error {
        FormError::Grammar(GrammarError::Failed) | FormError::Failed(_) => ApiError::WorkerFailed,
        FormError::Grammar(error) => ApiError::form(param, &format!("cannot be used: {error}")),
        FormError::Targets(TargetsError::Untokenizable { index, problem }) => {
            ApiError::Untokenizable { param: format!("{param}[{index}]"), problem }
        }
        FormError::Targets(error) => ApiError::form(param, &error.to_string()),
    }
}
