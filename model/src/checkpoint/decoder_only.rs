//! A checkpoint of a decoder-only Gemma 2, opened with the checks of [`super::Checkpoint`].
//!
//! Read by `adaptation` and `training`. It reads files and hands out bytes.

use std::path::Path;

use kernels::DType;
use serde_json::Value;

use super::folder::{Folder, TOKENIZER};
use super::shards::TiedTables;
use super::table::TensorTable;
use super::tensor_data::TensorData;
use super::tensors::Tensors;
use crate::config::DecoderConfig;
use crate::error::{Error, Result};

/// A decoder-only checkpoint whose configuration and tensors fit each other.
#[derive(Debug)]
pub struct DecoderCheckpoint {
    config: DecoderConfig,
    json: Value,
    tensors: Tensors,
    folder: Folder,
}

impl DecoderCheckpoint {
    /// Opens a folder in the Hugging Face layout, as [`super::Checkpoint::open`] does.
    ///
    /// # Errors
    /// Names the file and what is wrong with it; for configuration and tensors, everything that is wrong at once.
    pub fn open(folder: &Path) -> Result<Self> {
        let folder = Folder::open(folder)?;
        let (path, text, generation) = folder.config_texts()?;
        let mut config = DecoderConfig::from_json(&path, &text, generation.as_deref())?;
        let json = serde_json::from_slice(&text).map_err(|source| Error::Json { path, source })?;
        let mut shards = folder.shards()?;
        config.tie_word_embeddings = shards.settle(config.tie_word_embeddings, TiedTables::DECODER_ONLY)?;
        let tensors = Tensors::find(&TensorTable::decoder_only(&config), None, shards)?;
        Ok(Self { config, json, tensors, folder })
    }

    /// The configuration.
    pub fn config(&self) -> &DecoderConfig {
        &self.config
    }

    /// `config.json` as it is written, with all that [`DecoderConfig`] leaves out.
    pub fn config_json(&self) -> &Value {
        &self.json
    }

    /// The folder.
    pub fn origin(&self) -> &Path {
        self.tensors.origin()
    }

    /// The contents of `tokenizer.json`; `None` when there is no such file.
    ///
    /// # Errors
    /// When the file is there and cannot be read.
    pub fn tokenizer_json(&self) -> Result<Option<Vec<u8>>> {
        self.other_file(TOKENIZER)
    }

    /// The contents of a file that holds no tensors; `None` when there is none of that name.
    pub(crate) fn other_file(&self, name: &str) -> Result<Option<Vec<u8>>> {
        self.folder.read(name)
    }

    /// Reads a tensor of [`TensorTable::decoder_only`].
    ///
    /// # Errors
    /// When its file cannot be read or has changed since it was opened, or a number is not finite.
    ///
    /// # Panics
    /// When the table holds no tensor of that name: every name in it was found when the checkpoint was opened.
    pub fn tensor(&self, name: &str) -> Result<TensorData> {
        self.tensors.read(name)
    }

    /// Number type of a tensor.
    ///
    /// # Panics
    /// As [`DecoderCheckpoint::tensor`].
    pub fn dtype(&self, name: &str) -> DType {
        self.tensors.dtype(name).expect("decoder-only checkpoints are opened only when they are not quantised")
    }

    /// Bytes of all tensors that the configuration calls for.
    pub fn tensor_bytes(&self) -> u64 {
        self.tensors.bytes()
    }
}
