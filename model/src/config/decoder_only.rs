//! The configuration of a decoder-only Gemma 2 or 3: encoder-decoders are adapted from these models, and compared with
//! them.
//!
//! Read by `checkpoint`, `adaptation` and `training`. The server does not serve these models.

use std::path::Path;

use super::document::{ConfigDocument, DECODERS, DocumentFields, GEMMA2, GEMMA3_TEXT, check_model_type};
use super::fields::Problems;
use super::quantization;
use super::special_tokens::SpecialTokens;
use super::stack::StackConfig;
use super::stack_fields::{StackFields, check_storage_type, quiet_vocab, read_stack};
use crate::error::Result;

/// A decoder-only model.
#[derive(Debug, Clone, PartialEq)]
pub struct DecoderConfig {
    /// Its only stack.
    pub stack: StackConfig,
    /// Whether the output table is the embedding table.
    pub tie_word_embeddings: bool,
    /// Tokens that end a text; never empty.
    pub end_tokens: Vec<u32>,
    /// Token that fills padded batches in other programs; never produced here.
    pub pad_token: u32,
    /// Token that opens a text.
    pub bos_token: u32,
}

impl DecoderConfig {
    /// Reads the texts of `config.json` and, where there is one, `generation_config.json`, whose end tokens win. Both
    /// published dialects are understood: without `layer_types` the even layers slide (in Gemma 3 all but every sixth),
    /// and a flat `rope_theta` stands for `rope_parameters`.
    ///
    /// # Errors
    /// One error that lists every missing or unusable field; `path` is the file it names.
    pub fn from_json(path: &Path, config: &[u8], generation: Option<&[u8]>) -> Result<Self> {
        Self::read(&ConfigDocument::parse(path, config, generation)?)
    }

    /// Reads a parsed document.
    ///
    /// # Errors
    /// One error that lists every missing or unusable field.
    pub fn read(document: &ConfigDocument) -> Result<Self> {
        document.expect_model_type(&[GEMMA2, GEMMA3_TEXT], DECODERS)?;
        let mut problems = Problems::default();
        let read = read_decoder(&document.fields(), &mut problems);
        problems.value_or_error(&document.path, read)
    }

    /// The token ids with a meaning; a text opens with the first token of a target.
    pub fn special_tokens(&self) -> SpecialTokens {
        SpecialTokens { start: self.bos_token, bos: self.bos_token, pad: self.pad_token, end: self.end_tokens.clone() }
    }

    /// The count of numbers in all weights, a tied output table counted once.
    pub fn parameters(&self) -> u64 {
        let tables = if self.tie_word_embeddings { 1 } else { 2 };
        self.stack.own_parameters() + tables * self.stack.embedding_parameters()
    }
}

/// Reads the fields of both files. `None` only when a problem was added.
pub(super) fn read_decoder(fields: &DocumentFields<'_>, problems: &mut Problems) -> Option<DecoderConfig> {
    let DocumentFields { top, generation, .. } = fields;
    check_model_type(top, problems);
    check_storage_type(top, problems);
    if top.get(quantization::FIELD).is_some() {
        problems.add(quantization::FIELD, "is there: only a checkpoint that is not quantised can be used");
    }
    if top.flag("use_bidirectional_attention", problems) == Some(true) {
        problems.add("use_bidirectional_attention", "is true: that is an encoder, which cannot write a text");
    }
    let tied = top.flag("tie_word_embeddings", problems).unwrap_or(true);
    let stack = read_stack(&StackFields { fields: top, top, other: None, layers: fields.layers }, problems);

    let vocab = quiet_vocab(top, top);
    let bos = [top, generation].into_iter().find_map(|place| place.token("bos_token_id", vocab, problems));
    let pad = top.token("pad_token_id", vocab, problems);
    let ends = [generation, top].into_iter().find_map(|place| place.tokens("eos_token_id", vocab, problems));
    if bos.is_none() {
        problems.add("bos_token_id", "is missing");
    }
    if ends.is_none() {
        problems.add("eos_token_id", "is missing");
    }
    Some(DecoderConfig {
        stack: stack?,
        tie_word_embeddings: tied,
        end_tokens: ends?,
        // transformers' own default; batches are never padded here, so nothing depends on it.
        pad_token: pad.unwrap_or(0),
        bos_token: bos?,
    })
}
