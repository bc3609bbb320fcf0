//! An encoder that classifies: the configuration of a `T5GemmaForSequenceClassification` without a decoder.
//!
//! Made by [`ClassifierConfig::from_json`]; read by `checkpoint` and `classifier`. The server does not serve these
//! models, it evaluates them.

use std::collections::HashSet;
use std::path::Path;

use serde_json::{Map, Value};

use super::documents::{Documents, check_model_type};
use super::fields::{Fields, Problems, brief};
use super::stack::{check_storage_type, read_stack};
use super::{StackConfig, quantization};
use crate::error::{Error, Result};

/// transformers' number of classes where the file names none.
const UNNAMED_LABELS: usize = 2;

/// An encoder with a linear head.
#[derive(Debug, Clone, PartialEq)]
pub struct ClassifierConfig {
    /// The stack that reads the source.
    pub encoder: StackConfig,
    /// Names of the classes, in their order; never empty.
    pub labels: Vec<String>,
}

impl ClassifierConfig {
    /// Reads `config.json`. Its `decoder`, which transformers writes all the same, is not looked at.
    ///
    /// # Errors
    /// One error that lists every missing or unusable piece; `path` is the file it names.
    pub fn from_json(path: &Path, config: &[u8]) -> Result<Self> {
        let documents = Documents::parse(path, config, None)?;
        let (top, _) = documents.fields();
        documents.expect_model_type("t5gemma")?;

        let mut problems = Problems::default();
        match read(&top, &mut problems) {
            Some(config) if problems.0.is_empty() => Ok(config),
            _ => Err(Error::Config { path: path.to_owned(), problems: problems.0 }),
        }
    }
}

/// `None` only when a problem was added.
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
    let labels = read_labels(top, problems);
    let encoder = top.object("encoder", problems)?;
    if encoder.flag("encdec_causal", problems) == Some(true) {
        problems.add("encoder.encdec_causal", "is true: this encoder was trained to see earlier tokens only");
    }
    Some(ClassifierConfig { encoder: read_stack(&encoder, top, problems)?, labels: labels? })
}

/// `id2label` numbers the classes from 0 without gaps.
fn read_labels(top: &Fields<'_>, problems: &mut Problems) -> Option<Vec<String>> {
    let Some(value) = top.get("id2label") else {
        return Some((0..UNNAMED_LABELS).map(|label| format!("LABEL_{label}")).collect());
    };
    let named = value.as_object().filter(|names| !names.is_empty());
    let label = |names: &Map<String, Value>, id: usize| names.get(&id.to_string())?.as_str().map(str::to_owned);
    let labels = named.and_then(|names| (0..names.len()).map(|id| label(names, id)).collect());
    match labels.as_deref().map(named_twice) {
        None => problems.add("id2label", format!("is {}, not names for the numbers from 0", brief(value))),
        Some(Some(label)) => problems.add("id2label", format!("names {label:?} twice")),
        Some(None) => {}
    }
    labels
}

/// A label that a list names more than once: its rows would all be those of the first class of that name.
pub(crate) fn named_twice(labels: &[String]) -> Option<&String> {
    let mut seen = HashSet::new();
    labels.iter().find(|label| !seen.insert(*label))
}
