//! A checkpoint of a decoder-only Gemma 2, opened with the checks of [`super::Checkpoint`].
//!
//! Read by `adaptation` and `training`. It reads files and hands out bytes.

use std::path::Path;

use kernels::WeightPart;
use serde_json::Value;

use super::folder::{Folder, TOKENIZER};
use super::table::TensorTable;
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
    /// Opens a folder in the Hugging Face layout, as [`super::Checkpoint::open`] does. Tensors are mapped, not read.
    ///
    /// # Errors
    /// Names the file and what is wrong with it; for configuration and tensors, everything that is wrong at once.
    pub fn open(folder: &Path) -> Result<Self> {
        let folder = Folder::open(folder)?;
        let (path, text, generation) = folder.config_texts()?;
        let config = DecoderConfig::from_json(&path, &text, generation.as_deref())?;
        let json = serde_json::from_slice(&text).map_err(|source| Error::Json { path, source })?;
        let tensors = Tensors::find(&TensorTable::decoder_only(&config), None, folder.shards()?)?;
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

    /// The stored numbers of a tensor of [`TensorTable::decoder_only`], `[rows, cols]`; a norm has one row.
    ///
    /// # Panics
    /// When the table holds no tensor of that name: every name in it was found when the checkpoint was opened.
    pub fn tensor(&self, name: &str) -> WeightPart<'_> {
        self.tensors.part(name)
    }

    /// Gives the memory of a tensor's pages back to the system; reading it again reads the file again.
    ///
    /// # Panics
    /// As [`DecoderCheckpoint::tensor`].
    pub fn release(&self, name: &str) {
        self.tensors.release(name);
    }

    /// Bytes of all tensors that the configuration calls for.
    pub fn tensor_bytes(&self) -> u64 {
        self.tensors.bytes()
    }
}
