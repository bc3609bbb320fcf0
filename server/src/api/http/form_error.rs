//! The error of a form of answers that cannot be served.
//!
//! Part of `error`.

use super::error::ApiError;

/// Why a field that gives the form of the answer is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{param}' {problem}")]
pub struct FormProblem {
    /// The field.
    pub param: String,
    /// The problem, as a predicate.
    pub problem: String,
}

impl ApiError {
    /// The error of a form that the field `param` gives; `problem` is a predicate.
    pub fn form(param: &str, problem: &str) -> Self {
        Self::Form(FormProblem { param: param.to_owned(), problem: problem.to_owned() })
    }
}
