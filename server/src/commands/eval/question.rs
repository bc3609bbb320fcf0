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
    /// What is scored, with its end token.
    pub target: Vec<u32>,
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
        let tokenizer = &self.reading.tokenizer;
        let (source, mut target) = match self.rows.objective {
            Objective::Seq2seq | Objective::Classify => {
                (tokenizer.encode(&row.input, true)?, tokenizer.encode(&row.wanted, false)?)
            }
            Objective::PrefixLm | Objective::Causal => {
                let mut source = tokenizer.encode(&row.input, true)?;
                let target = source.split_off(source.len() / 2);
                (source, target)
            }
        };
        let source = cut(source, self.reading.source_tokens, &mut self.cut_sources);
        target = cut(target, self.reading.target_tokens - 1, &mut self.cut_targets);
        target.push(self.reading.end);
        if source.is_empty() {
            let (path, line) = (self.rows.path.clone(), row.line);
            return Err(EvalError::Row { path, line, problem: "has no tokens to read".to_owned() }.into());
        }
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
