//! What a folder's checkpoint is, looked up in its `config.json` before anything is checked.
//!
//! Asked by whoever can use more than one kind; opening the checkpoint then tells what is wrong with it.

use std::path::Path;

use serde_json::{Map, Value};

use super::folder::Folder;
use crate::error::{Error, Result};

/// Kinds of checkpoints, by what can run them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckpointKind {
    /// What is served, and whatever is not recognised: [`super::Checkpoint`] refuses it with its reasons.
    EncoderDecoder,
    /// An encoder with a head: [`super::ClassifierCheckpoint`].
    EncoderClassifier,
    /// What only the trained network runs: a decoder-only model, or one whose encoder sees earlier tokens only.
    Trained,
}

impl CheckpointKind {
    /// The kind of a folder's checkpoint.
    ///
    /// # Errors
    /// When there is no folder, or no `config.json` in it that is an object.
    pub fn of(folder: &Path) -> Result<Self> {
        let (path, text, _) = Folder::open(folder)?.config_texts()?;
        let config: Map<String, Value> =
            serde_json::from_slice(&text).map_err(|source| Error::Json { path, source })?;
        let is_causal =
            config.get("encoder").and_then(|encoder| encoder.get("encdec_causal")) == Some(&Value::Bool(true));
        let is_encoder_alone = config.get("is_encoder_decoder") == Some(&Value::Bool(false));
        Ok(match config.get("model_type").and_then(Value::as_str) {
            Some("gemma2") => Self::Trained,
            Some("t5gemma") if is_causal => Self::Trained,
            Some("t5gemma") if is_encoder_alone => Self::EncoderClassifier,
            _ => Self::EncoderDecoder,
        })
    }
}
