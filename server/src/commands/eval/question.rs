//! Questions: rows as token ids, the source that a subject reads and the target that it scores. Training makes its
//! examples in the same way.
//!
//! Questions are made one by one while the subject answers, so that tokenising and answering overlap.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use model::training::data::{Content, Maker, RawRow, Reading, Single};
use model::training::objective::{Ingredients, Reader, Recipe};
use model::training::settings::{BadRows, DataSettings, Packing};
use model::training::{Error, Example};

use super::error::EvalError;
use super::input_spec::InputSpec;
use super::rows::{Row, RowObjective, Rows};
use crate::cli::EvalOptions;
use crate::commands::error::CommandError;

/// One row for a subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Number of its row, from 0.
    pub index: usize,
    /// The source and its target or label.
    pub example: Example,
}

/// The questions of all rows, in their order.
pub struct Questions<'a> {
    spec: InputSpec,
    recipe: Recipe,
    rows: &'a Rows,
    max_text_tokens: usize,
    /// Whether the decoder of an encoder-decoder reads whole texts, without a source.
    without_source: bool,
    next: usize,
    cut_sources: usize,
    cut_targets: usize,
}

impl<'a> Questions<'a> {
    /// Questions with the lengths of the flags, as far as the subject allows them.
    ///
    /// # Errors
    /// When the lengths leave no room for a source.
    pub fn new(spec: InputSpec, rows: &'a Rows, options: &EvalOptions) -> Result<Self, EvalError> {
        let at_most = |asked: Option<NonZeroUsize>, most: usize| asked.map_or(most, |asked| most.min(asked.get()));
        let without_source = rows.objective == RowObjective::Causal && spec.reader == Reader::EncoderDecoder;
        // The target's start token opens a text that has no source, and an end token follows it.
        let text_tokens = if without_source { spec.target_tokens.saturating_sub(1).max(1) } else { spec.text_tokens };
        let reader = if without_source { Reader::DecoderOnly } else { spec.reader };
        let data = DataSettings {
            train: vec![PathBuf::from(&rows.path)],
            valid: Vec::new(),
            bad_rows: BadRows::Fail,
            cache: None,
            max_source_tokens: at_most(options.max_source_tokens, spec.source_tokens),
            max_target_tokens: at_most(options.max_target_tokens, spec.target_tokens),
            packing: Packing::Rows,
            max_text_tokens: at_most(options.max_text_tokens, text_tokens),
            batch_tokens: 1,
            accumulate: 1,
        };
        let recipe = Recipe::new(Ingredients {
            objective: &rows.objective.trained_as(spec.labels.as_deref(), &options.separator),
            data: &data,
            tokenizer: Some(&spec.tokenizer),
            reader,
            tokens: &spec.tokens,
        })?;
        let max_text_tokens = data.max_text_tokens;
        Ok(Self { spec, recipe, rows, max_text_tokens, without_source, next: 0, cut_sources: 0, cut_targets: 0 })
    }

    /// Sources, or texts, that were cut so far.
    pub fn cut_sources(&self) -> usize {
        self.cut_sources
    }

    /// Targets that were cut so far.
    pub fn cut_targets(&self) -> usize {
        self.cut_targets
    }

    fn question(&mut self, row: &Row) -> Result<Question, EvalError> {
        let raw = match (row.raw.clone(), &self.spec.labels) {
            (RawRow::Labelled { source, label }, None) => RawRow::Pair { source, target: Content::Text(label) },
            (raw, _) => raw,
        };
        let maker = Maker {
            reading: Reading {
                kind: self.rows.objective.row_kind(),
                tokenizer: Some(&self.spec.tokenizer),
                source_vocab: self.spec.tokens.source_vocab,
                target_vocab: self.spec.tokens.target_vocab,
                labels: self.spec.labels.as_deref(),
                bad_rows: BadRows::Fail,
            },
            recipe: &self.recipe,
            max_text_tokens: self.max_text_tokens,
        };
        let Single { mut example, is_source_cut, is_target_cut } = maker
            .example(raw, self.next as u64)
            .map_err(|problem| Error::Row { path: self.rows.path.clone(), line: row.line, problem })?;
        self.cut_sources += usize::from(is_source_cut);
        self.cut_targets += usize::from(is_target_cut);
        if let (true, Example::Pair { source, .. }) = (self.without_source, &mut example) {
            source.clear();
        }
        Ok(Question { index: self.next, example })
    }
}

impl Iterator for Questions<'_> {
    type Item = Result<Question, CommandError>;

    fn next(&mut self) -> Option<Self::Item> {
        let row = self.rows.rows.get(self.next)?;
        let question = self.question(row);
        self.next += 1;
        Some(question.map_err(CommandError::from))
    }
}

impl Question {
    /// Token ids of the source.
    pub fn source(&self) -> &[u32] {
        match &self.example {
            Example::Pair { source, .. } | Example::Labelled { source, .. } => source,
        }
    }
}
