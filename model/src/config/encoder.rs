//! The configuration of an encoder alone: its final states are the result, or a classification head reads them.
//!
//! Read by `checkpoint` and `encoder_model`. Two kinds of files hold one: a `t5gemma` whose `is_encoder_decoder` is
//! false, and the module of an encoder by itself, whose fields stand at the top.

use std::path::Path;

use super::architecture::{Architecture, Generation, Head, Stacks};
use super::document::{
    CAUSAL_ENCODER, ConfigDocument, DocumentFields, ENCODER_MODULE, PAIRS, T5GEMMA, T5GEMMA2, check_model_type,
    names_encoder_head,
};
use super::encoder_fields::{EncoderFields, read_encoder};
use super::fields::{Fields, Problems};
use super::stack::StackConfig;
use super::stack_fields::check_storage_type;
use super::{labels, quantization};
use crate::error::Result;

/// An encoder, with a linear head if it has classes.
#[derive(Debug, Clone, PartialEq)]
pub struct EncoderConfig {
    /// The stack that reads the source.
    pub encoder: StackConfig,
    /// Names of the classes that the head scores, in their order; none without a head.
    pub labels: Vec<String>,
}

impl EncoderConfig {
    /// Reads the text of `config.json`. Its `decoder`, which transformers writes all the same, is ignored.
    ///
    /// # Errors
    /// One error that lists every missing or unusable field; `path` is the file it names.
    pub fn from_json(path: &Path, config: &[u8]) -> Result<Self> {
        Self::read(&ConfigDocument::parse(path, config, None)?)
    }

    /// Reads a parsed document.
    ///
    /// # Errors
    /// One error that lists every missing or unusable field.
    pub fn read(document: &ConfigDocument) -> Result<Self> {
        let DocumentFields { top, layers, .. } = document.fields();
        let mut problems = Problems::default();
        let read = if document.is_encoder_module() {
            read_module(&top, layers, &mut problems)
        } else {
            document.expect_model_type(&[T5GEMMA, T5GEMMA2], PAIRS)?;
            read_composite(&top, layers, &mut problems)
        };
        problems.value_or_error(&document.path, read)
    }

    /// Number of all numbers, without those of a head.
    pub fn parameters(&self) -> u64 {
        self.encoder.own_parameters() + self.encoder.embedding_parameters()
    }

    /// The architecture.
    pub const fn architecture(&self) -> Architecture {
        let head = if self.labels.is_empty() { Head::States } else { Head::Classes };
        Architecture { generation: self.encoder.generation, stacks: Stacks::Encoder, head, ..Architecture::T5GEMMA }
    }
}

/// Reads an encoder as part of a `t5gemma`. `None` only when a problem was added.
fn read_composite(top: &Fields<'_>, layers: Generation, problems: &mut Problems) -> Option<EncoderConfig> {
    check_file(top, problems);
    if top.flag("is_encoder_decoder", problems) != Some(false) {
        problems.add("is_encoder_decoder", "is not false: only an encoder without a decoder can be used");
    }
    if top.get("encoder").is_none() {
        problems.add("encoder", "is missing");
    }
    let labels = if names_encoder_head(top) { labels::read(top, problems) } else { Some(Vec::new()) };
    let encoder = top.object("encoder", problems)?;
    check_causal(&encoder, problems);
    // A value that is no object has nothing to add to the encoder.
    let decoder = top.object("decoder", &mut Problems::default());
    let fields = EncoderFields { encoder: &encoder, top, decoder: decoder.as_ref(), layers };
    Some(EncoderConfig { encoder: read_encoder(&fields, problems)?, labels: labels? })
}

/// Reads the module of an encoder. `None` only when a problem was added.
fn read_module(top: &Fields<'_>, layers: Generation, problems: &mut Problems) -> Option<EncoderConfig> {
    check_file(top, problems);
    check_causal(top, problems);
    if top.flag("is_decoder", problems) == Some(true) {
        problems.add("is_decoder", format!("is true: a {ENCODER_MODULE} that decodes is no encoder"));
    }
    Some(EncoderConfig {
        encoder: read_encoder(&EncoderFields { encoder: top, top, decoder: None, layers }, problems)?,
        labels: Vec::new(),
    })
}

fn check_file(top: &Fields<'_>, problems: &mut Problems) {
    check_model_type(top, problems);
    check_storage_type(top, problems);
    if top.get(quantization::FIELD).is_some() {
        problems.add(quantization::FIELD, "is there: only an encoder that is not quantised can be used");
    }
}

fn check_causal(encoder: &Fields<'_>, problems: &mut Problems) {
    if encoder.flag(CAUSAL_ENCODER, problems) == Some(true) {
        problems.add(encoder.name(CAUSAL_ENCODER), "is true: this encoder was trained to see earlier tokens only");
    }
}
