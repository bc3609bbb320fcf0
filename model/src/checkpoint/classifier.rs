//! A checkpoint of an encoder that classifies, opened with the checks of [`super::Checkpoint`].
//!
//! Read by the weights of `classifier`. It reads files and hands out bytes.

use std::path::Path;

use kernels::Scheme;

use super::folder::{Folder, TOKENIZER};
use super::table::TensorTable;
use super::tensor_data::TensorData;
use super::tensors::Tensors;
use crate::config::ClassifierConfig;
use crate::error::Result;
use crate::weights::TensorSource;

/// A classifier whose configuration and tensors fit each other.
#[derive(Debug)]
pub struct ClassifierCheckpoint {
    config: ClassifierConfig,
    tensors: Tensors,
    folder: Folder,
}

impl ClassifierCheckpoint {
    /// Opens a folder in the Hugging Face layout, as [`super::Checkpoint::open`] does.
    ///
    /// # Errors
    /// Names the file and what is wrong with it; for configuration and tensors, everything that is wrong at once.
    pub fn open(folder: &Path) -> Result<Self> {
        let folder = Folder::open(folder)?;
        let (path, text, _) = folder.config_texts()?;
        let config = ClassifierConfig::from_json(&path, &text)?;
        let tensors = Tensors::find(&TensorTable::classifier(&config), None, folder.shards()?)?;
        Ok(Self { config, tensors, folder })
    }

    /// The configuration.
    pub fn config(&self) -> &ClassifierConfig {
        &self.config
    }

    /// Shortens the longest source that the model is loaded for, where it is longer.
    pub fn limit_source(&mut self, tokens: usize) {
        let positions = &mut self.config.encoder.max_positions;
        *positions = tokens.min(*positions);
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
        self.folder.read(TOKENIZER)
    }
}

impl TensorSource for ClassifierCheckpoint {
    fn scheme(&self) -> Option<Scheme> {
        None
    }

    fn total_bytes(&self) -> u64 {
        self.tensors.bytes()
    }

    fn tensor(&self, name: &str) -> Result<TensorData> {
        self.tensors.read(name)
    }
}
