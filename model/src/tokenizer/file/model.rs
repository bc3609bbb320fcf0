//! The field `model` of a `tokenizer.json`: a vocabulary with its byte-pair merges.
//!
//! Parsed by `file`, which builds the library's model from it.

use std::collections::HashMap;

use serde::Deserialize;
use tokenizers::models::bpe::{BPE, Vocab};

use super::merge::Merge;
use crate::error::TokenizerProblem;

type Result<T> = std::result::Result<T, TokenizerProblem>;

/// A byte-pair model.
#[derive(Deserialize)]
pub struct Model {
    #[serde(rename = "type")]
    kind: Option<String>,
    pub dropout: Option<f32>,
    pub unk_token: Option<String>,
    continuing_subword_prefix: Option<String>,
    end_of_word_suffix: Option<String>,
    #[serde(default)]
    pub fuse_unk: bool,
    #[serde(default)]
    pub byte_fallback: bool,
    #[serde(default)]
    pub ignore_merges: bool,
    pub vocab: HashMap<String, u32>,
    pub merges: Vec<Merge>,
}

impl Model {
    /// Whether the model merges byte pairs; the type may be left out.
    pub fn is_bpe(&self) -> bool {
        self.kind.as_deref().is_none_or(|kind| kind == "BPE")
    }

    /// Texts that are added to the ends of pieces; Gemma adds none.
    pub fn affixes(&self) -> impl Iterator<Item = &str> {
        let affixes = [&self.continuing_subword_prefix, &self.end_of_word_suffix];
        affixes.map(|affix| affix.as_deref().unwrap_or_default()).into_iter()
    }

    /// Refuses a model that is not Gemma's, or on which the library would panic.
    pub fn check(&self) -> Result<()> {
        if !self.is_bpe() {
            return Err(TokenizerProblem::refused(format!(
                "its model is {}, not BPE",
                self.kind.as_deref().unwrap_or_default()
            )));
        }
        if self.dropout.is_some_and(|dropout| dropout != 0.0) {
            return Err(TokenizerProblem::refused("it drops merges at random"));
        }
        if self.affixes().any(|affix| !affix.is_empty()) {
            return Err(TokenizerProblem::refused("its pieces carry a prefix or suffix, which Gemma's do not"));
        }
        if let Some(unknown) = self.unk_token.as_ref().filter(|unknown| !self.vocab.contains_key(*unknown)) {
            return Err(TokenizerProblem::refused(format!(
                "its token for the unknown, {unknown:?}, is not in its vocabulary"
            )));
        }
        // The library panics on a merged piece that is longer than every piece of the vocabulary.
        let longest = self.vocab.keys().map(String::len).max().unwrap_or(0);
        if let Some(Merge(left, right)) = self.merges.iter().find(|merge| merge.0.len() + merge.1.len() > longest) {
            return Err(TokenizerProblem::refused(format!(
                "its merge of {left:?} and {right:?} is longer than all of its pieces"
            )));
        }
        Ok(())
    }

    /// Builds the library's model.
    pub fn build(self) -> Result<BPE> {
        let vocab: Vocab = self.vocab.into_iter().collect();
        let merges = self.merges.into_iter().map(|Merge(left, right)| (left, right)).collect();
        let mut builder = BPE::builder()
            .vocab_and_merges(vocab, merges)
            .fuse_unk(self.fuse_unk)
            .byte_fallback(self.byte_fallback)
            .ignore_merges(self.ignore_merges)
            // A whole text is one word here, so a cache of words would never be hit.
            .cache_capacity(0);
        if let Some(unknown) = self.unk_token {
            builder = builder.unk_token(unknown);
        }
        builder
            .build()
            .map_err(|error| TokenizerProblem::refused(format!("its merges do not fit its vocabulary: {error}")))
    }
}
