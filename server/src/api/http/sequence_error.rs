//! The engine's failures, and its refusals of a source or a target, told in the names of the request's own fields.
//!
//! Used by the rooms that check lengths. The engine knows no fields.

use std::borrow::Cow;

use super::error::ApiError;
use crate::job_pool::JobFailed;
use crate::request::{FailureKind, Refusal};

/// Names of the fields that make a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetNames {
    /// Its beginning.
    pub beginning: Cow<'static, str>,
    /// Most tokens to generate.
    pub max_tokens: &'static str,
    /// Whether the request has that field; its default applies otherwise.
    pub gives_max_tokens: bool,
}

impl TargetNames {
    /// The limit on generated tokens, with its value, as part of a sentence.
    pub fn limit(&self, tokens: u32) -> String {
        let Self { max_tokens, gives_max_tokens, .. } = self;
        format!("{max_tokens} ({tokens}{})", if *gives_max_tokens { "" } else { " by default" })
    }

    /// The reason why a target is too long, as part of a sentence.
    pub(super) fn reason(&self, beginning: usize, max_tokens: usize) -> String {
        let Self { beginning: name, max_tokens: field, .. } = self;
        match (beginning, max_tokens) {
            (0, _) => format!("'{field}' asks for {max_tokens} tokens of target"),
            (_, 0) => format!("'{name}' has {beginning} tokens"),
            _ => {
                let sum = beginning.saturating_add(max_tokens);
                let limit = self.limit(u32::try_from(max_tokens).unwrap_or(u32::MAX));
                format!("{name} ({beginning} tokens) and {limit} make {sum} tokens of target")
            }
        }
    }

    /// The field to be changed for a target that is too long.
    pub(super) fn at_fault(&self, beginning: usize, limit: usize) -> &str {
        // No number of tokens to generate would help beside a beginning that takes all of them.
        let is_beginning = beginning >= limit || (beginning > 0 && !self.gives_max_tokens);
        if is_beginning { &self.beginning } else { self.max_tokens }
    }
}

/// The beginning of the message of a failure.
pub(super) const fn fault(kind: FailureKind) -> &'static str {
    match kind {
        FailureKind::Refused => "",
        FailureKind::Overloaded => "the server is overloaded: ",
        FailureKind::Passing | FailureKind::Lasting => "the engine failed: ",
    }
}

impl ApiError {
    /// The error of a request that failed in the engine.
    pub const fn failed(problem: String, kind: FailureKind) -> Self {
        Self::Failed { problem, kind }
    }

    /// A refusal that concerns the source in the field `param`.
    pub fn refused_source(refusal: Refusal, param: String) -> Self {
        match refusal {
            Refusal::EmptySource => Self::Invalid { param, problem: "has no tokens" },
            Refusal::SourceTooLong { tokens, limit } => Self::TooManyTokens { param, beside: "", tokens, limit },
            Refusal::NeverFits { needed, pages } => Self::NeverFits { param, needed, pages },
            Refusal::TargetTooLong { .. }
            | Refusal::Shed(_)
            | Refusal::TooWide { .. }
            | Refusal::Draining
            | Refusal::NoDecoder
            | Refusal::NoClasses => Self::Refused(refusal),
        }
    }

    /// A refusal that concerns the source in the field `param`, or the target of these names.
    pub fn refused(refusal: Refusal, param: String, names: &TargetNames) -> Self {
        match refusal {
            Refusal::TargetTooLong { prompt: beginning, max_tokens, limit } => {
                Self::TargetTooLong { names: names.clone(), beginning, max_tokens, limit }
            }
            other => Self::refused_source(other, param),
        }
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<JobFailed> for ApiError {
    fn from(_: JobFailed) -> Self {
        Self::WorkerFailed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn too_long(prompt: usize, max_tokens: usize, gives_max_tokens: bool) -> ApiError {
        let names = TargetNames { beginning: "beginning".into(), max_tokens: "most", gives_max_tokens };
        let refusal = Refusal::TargetTooLong { prompt, max_tokens, limit: 50 };
        ApiError::refused(refusal, "source[1]".to_owned(), &names)
    }

    #[test]
    fn a_target_that_is_too_long_is_told_in_the_request_s_names() {
        for (error, param, words) in [
            (too_long(0, 60, true), "most", "However, 'most' asks for 60 tokens of target"),
            (too_long(10, 60, true), "most", "beginning (10 tokens) and most (60) make 70 tokens of target"),
            (too_long(40, 16, false), "beginning", "beginning (40 tokens) and most (16 by default) make 56 tokens"),
            (too_long(60, 0, true), "beginning", "However, 'beginning' has 60 tokens"),
            (too_long(50, 1, true), "beginning", "make 51 tokens"),
        ] {
            assert_eq!(error.param(), Some(param), "{error}");
            assert!(error.to_string().contains(words), "{error}");
        }
    }

    #[test]
    fn a_source_that_does_not_fit_is_told_by_its_name() {
        let names = TargetNames { beginning: "".into(), max_tokens: "", gives_max_tokens: true };
        for (refusal, words) in [
            (Refusal::EmptySource, "'source[1]' has no tokens"),
            (Refusal::SourceTooLong { tokens: 9, limit: 8 }, "is 8 tokens. However, 'source[1]' has 9 tokens"),
            (Refusal::NeverFits { needed: 9, pages: 8 }, "'source[1]' needs 9 pages"),
        ] {
            let error = ApiError::refused(refusal, "source[1]".to_owned(), &names);
            assert_eq!(error.param(), Some("source"));
            assert!(error.to_string().contains(words), "{error}");
        }
    }
}
