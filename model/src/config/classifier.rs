//! The configuration of an encoder that classifies: a `T5GemmaForSequenceClassification` without its decoder.
//!
//! Read by `checkpoint` and `classifier`. The server evaluates these models and does not serve them.

use std::path::Path;

use super::architecture::Architecture;
use super::document::{CAUSAL_ENCODER, ConfigDocument, DocumentFields, T5GEMMA, check_model_type};
use super::fields::{Fields, Problems};
use super::stack::StackConfig;
use super::stack_fields::{check_storage_type, read_stack};
use super::{labels, quantization};
use crate::error::Result;

/// An encoder with a linear head.
#[derive(Debug, Clone, PartialEq)]
pub struct ClassifierConfig {
    /// The stack that reads the source.
    pub encoder: StackConfig,
    /// Names of the classes, in their order; never empty.
    pub labels: Vec<String>,
}

impl ClassifierConfig {
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
        document.expect_model_type(T5GEMMA)?;
        let DocumentFields { top, .. } = document.fields();
        let mut problems = Problems::default();
        let read = read(&top, &mut problems);
        problems.value_or_error(&document.path, read)
    }

    /// The architecture.
    pub const fn architecture(&self) -> Architecture {
        Architecture::T5GEMMA.as_classifier()
    }
}

/// Reads the fields of `config.json`. `None` only when a problem was added.
fn read(top: &Fields<'_>, problems: &mut Problems) -> Option<ClassifierConfig> {
    check_model_type(top, problems);
    check_storage_type(top, problems);
    if top.flag("is_encoder_decoder", problems) != Some(false) {
        problems.add("is_encoder_decoder", "is not false: only classifiers without a decoder can be used");
    }
    if top.get(quantization::FIELD).is_some() {
        problems.add(quantization::FIELD, "is there: only a classifier that is not quantised can be used");
    }
    if top.get("encoder").is_none() {
        problems.add("encoder", "is missing");
    }
    let labels = labels::read(top, problems);
    let encoder = top.object("encoder", problems)?;
    if encoder.flag(CAUSAL_ENCODER, problems) == Some(true) {
        problems.add(encoder.name(CAUSAL_ENCODER), "is true: this encoder was trained to see earlier tokens only");
    }
    Some(ClassifierConfig { encoder: read_stack(&encoder, top, problems)?, labels: labels? })
}
