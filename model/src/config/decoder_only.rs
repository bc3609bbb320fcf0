//! A decoder-only Gemma 2: the configuration of what encoder-decoders are adapted from, and of baselines.
//!
//! Made by [`DecoderConfig::from_json`]; read by `checkpoint`, `adaptation` and `training`. The server does not serve
//! these models.

use std::path::Path;

use super::documents::{Documents, check_model_type};
use super::fields::{Fields, Problems};
use super::stack::{check_storage_type, quiet_vocab, read_stack};
use super::{StackConfig, quantization};
use crate::error::{Error, Result};

/// A whole decoder-only model.
#[derive(Debug, Clone, PartialEq)]
pub struct DecoderConfig {
    /// The one stack.
    pub stack: StackConfig,
    /// Whether the output table is the embedding table.
    pub tie_word_embeddings: bool,
    /// Tokens that end a text; never empty.
    pub end_tokens: Vec<u32>,
    /// Filler of padded batches elsewhere; never produced here.
    pub pad_token: u32,
    /// Token that opens a text.
    pub bos_token: u32,
}

impl DecoderConfig {
    /// Reads `config.json` and, where there is one, `generation_config.json`, whose end tokens win. Both published
    /// dialects are understood: without `layer_types` the even layers slide, without `rope_parameters` there is a flat
    /// `rope_theta`.
    ///
    /// # Errors
    /// One error that lists every missing or unusable piece; `path` is the file it names.
    pub fn from_json(path: &Path, config: &[u8], generation: Option<&[u8]>) -> Result<Self> {
        let documents = Documents::parse(path, config, generation)?;
        let (top, generation) = documents.fields();
        documents.expect_model_type("gemma2")?;

        let mut problems = Problems::default();
        match read(&top, &generation, &mut problems) {
            Some(config) if problems.0.is_empty() => Ok(config),
            _ => Err(Error::Config { path: path.to_owned(), problems: problems.0 }),
        }
    }

    /// Numbers in all weights, a tied output table counted once.
    pub fn parameters(&self) -> u64 {
        let tables = if self.tie_word_embeddings { 1 } else { 2 };
        self.stack.own_parameters() + tables * self.stack.embedding_parameters()
    }
}

/// `None` only when a problem was added.
fn read(top: &Fields<'_>, generation: &Fields<'_>, problems: &mut Problems) -> Option<DecoderConfig> {
    check_model_type(top, problems);
    check_storage_type(top, problems);
    if top.get(quantization::FIELD).is_some() {
        problems.add(quantization::FIELD, "is there: only a checkpoint that is not quantised can be used");
    }
    if top.flag("use_bidirectional_attention", problems) == Some(true) {
        problems.add("use_bidirectional_attention", "is true: that is an encoder, which cannot write a text");
    }
    let tied = top.flag("tie_word_embeddings", problems).unwrap_or(true);
    let stack = read_stack(top, top, problems);

    let vocab = quiet_vocab(top, top);
    let bos = [top, generation].iter().find_map(|place| place.token("bos_token_id", vocab, problems));
    let pad = top.token("pad_token_id", vocab, problems);
    let ends = [generation, top].iter().find_map(|place| place.tokens("eos_token_id", vocab, problems));
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
        // transformers' own default; batches are never padded here, so that nothing depends on it.
        pad_token: pad.unwrap_or(0),
        bos_token: bos?,
    })
}
