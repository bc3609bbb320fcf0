//! Rows as token ids: what the encoder reads, and the target that is scored.
//!
//! Made one by one while the subject answers; tokenises as training does.

use super::rows::{Objective, Row, Rows};
use super::subject::Reading;
use super::{CommandError, EvalError};
use crate::cli::EvalOptions;

/// One row for a subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Number of its row, from 0.
    pub index: usize,
    /// What is read; never empty.
    pub source: Vec<u32>,
    /// What is scored.
    pub target: Target,
}

/// What is wanted of a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A text, with its end token.
    Tokens(Vec<u32>),
    /// A class, by its number.
    Class(usize),
}

/// The questions of all rows, in their order.
pub struct Questions<'a> {
    reading: Reading,
    rows: &'a Rows,
    next: usize,
    cut_sources: usize,
    cut_targets: usize,
}

impl<'a> Questions<'a> {
    /// Lengths are those of the flags, where the subject allows them.
    pub fn new(mut reading: Reading, rows: &'a Rows, options: &EvalOptions) -> Self {
        let tokens =
            |asked: Option<std::num::NonZeroUsize>, most: usize| asked.map_or(most, |asked| most.min(asked.get()));
        reading.source_tokens = tokens(options.max_source_tokens, reading.source_tokens);
        reading.target_tokens = tokens(options.max_target_tokens, reading.target_tokens);
        Self { reading, rows, next: 0, cut_sources: 0, cut_targets: 0 }
    }

    /// Sources that were too long so far.
    pub fn cut_sources(&self) -> usize {
        self.cut_sources
    }

    /// Targets that were too long so far.
    pub fn cut_targets(&self) -> usize {
        self.cut_targets
    }

    fn question(&mut self, row: &Row) -> Result<Question, CommandError> {
        let malformed = |problem: String| EvalError::Row { path: self.rows.path.clone(), line: row.line, problem };
        let tokenizer = &self.reading.tokenizer;
        let mut source = tokenizer.encode(&row.input, true)?;
        let target = match (self.rows.objective, &self.reading.labels) {
            (Objective::PrefixLm | Objective::Causal, _) => Target::Tokens(source.split_off(source.len() / 2)),
            (_, None) => Target::Tokens(tokenizer.encode(&row.wanted, false)?),
            (_, Some(labels)) => {
                let class = labels.iter().position(|label| *label == row.wanted);
                let unknown = || format!("{:?} is none of the model's labels: {}", row.wanted, labels.join(", "));
                Target::Class(class.ok_or_else(|| malformed(unknown()))?)
            }
        };
        if source.is_empty() {
            return Err(malformed("has no tokens to read".to_owned()).into());
        }
        let source = cut(source, self.reading.source_tokens, &mut self.cut_sources);
        let target = match target {
            Target::Tokens(tokens) => {
                let mut tokens = cut(tokens, self.reading.target_tokens - 1, &mut self.cut_targets);
                tokens.push(self.reading.end);
                Target::Tokens(tokens)
            }
            class @ Target::Class(_) => class,
        };
        Ok(Question { index: self.next, source, target })
    }
}

impl Iterator for Questions<'_> {
    type Item = Result<Question, CommandError>;

    fn next(&mut self) -> Option<Self::Item> {
        let row = self.rows.rows.get(self.next)?;
        let question = self.question(row);
        self.next += 1;
        Some(question)
    }
}

fn cut(mut ids: Vec<u32>, tokens: usize, count: &mut usize) -> Vec<u32> {
    if ids.len() > tokens {
        ids.truncate(tokens);
        *count += 1;
    }
    ids
}
