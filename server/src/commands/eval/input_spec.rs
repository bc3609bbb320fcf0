//! The input of a subject: tokenizer, vocabulary and longest texts.
//!
//! Given by each subject; `question` makes questions that fit it.

use std::sync::Arc;

use model::Tokenizer;
use model::training::objective::{ModelTokens, Reader};

/// Tokenizer, ids and lengths of a subject.
#[derive(Debug, Clone)]
pub struct InputSpec {
    /// Turns texts into ids.
    pub tokenizer: Arc<Tokenizer>,
    /// Names of its classes, if it is a classifier.
    pub labels: Option<Vec<String>>,
    /// The stack that reads a source.
    pub reader: Reader,
    /// Special ids and sizes of the vocabularies.
    pub tokens: ModelTokens,
    /// Most tokens of a source.
    pub source_tokens: usize,
    /// Most tokens of a target, its end token counted.
    pub target_tokens: usize,
    /// Most tokens of a text.
    pub text_tokens: usize,
}

/// Most tokens of a text whose halves are a source and a target, so that either fits with the tokens around it.
pub fn text_tokens(source_tokens: usize, target_tokens: usize) -> usize {
    const AROUND: usize = 2;
    2 * source_tokens.min(target_tokens).saturating_sub(AROUND).max(1)
}
