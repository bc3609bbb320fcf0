//! The answer of a subject to one row, and the parts of it that are asked for.
//!
//! Given by `eval`, filled by each subject, counted by `figures`.

use crate::evaluation::Likelihood;

/// The parts of an answer that the figures need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ask {
    /// Whether the target's log-probabilities are needed.
    pub scores: bool,
    /// Most tokens of a text of the model's own, if one is needed. A classifier writes the label.
    pub max_tokens: Option<u32>,
}

/// An answer to one question.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Answer {
    /// Text that the model wrote.
    pub written: Option<String>,
    /// Likelihood of the target.
    pub likelihood: Option<Likelihood>,
}

/// An answer, or why the model has none to this question, as a sentence.
pub type Outcome = Result<Answer, String>;

impl Answer {
    /// The answer, if its scores are numbers that can be counted.
    pub fn counted(self) -> Outcome {
        let is_finite = self.likelihood.is_none_or(|likelihood| likelihood.surprise.is_finite());
        if is_finite { Ok(self) } else { Err("its scores are not finite".to_owned()) }
    }
}
