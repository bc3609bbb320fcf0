//! The files of a checkpoint whose architecture its reader knows: configurations as texts, tensors by a given list.
//!
//! Opened by the network that is trained, which has more architectures than are served.

use std::path::{Path, PathBuf};

use super::folder::Folder;
use super::shards::{Shards, TiedTables};
use super::table::TensorTable;
use super::tensors::Tensors;
use crate::error::Result;

/// A folder in the Hugging Face layout.
pub(crate) struct CheckpointFiles(Folder);

/// The files with the tensors, before it is known which tensors are wanted.
pub(crate) struct TensorFiles(Shards);

/// Tensors that were found as they should be.
pub(crate) struct StoredTensors(Tensors);

impl CheckpointFiles {
    /// Checks that there is such a folder.
    pub fn open(folder: &Path) -> Result<Self> {
        Folder::open(folder).map(Self)
    }

    /// Path and text of `config.json`, and the text of `generation_config.json` where there is one.
    pub fn config_texts(&self) -> Result<(PathBuf, Vec<u8>, Option<Vec<u8>>)> {
        self.0.config_texts()
    }

    /// Opens the files with the tensors.
    pub fn tensor_files(&self) -> Result<TensorFiles> {
        self.0.shards().map(TensorFiles)
    }
}

impl TensorFiles {
    /// Whether two tables that the configuration ties are one in the files too; either name will then do.
    pub fn are_tied(&mut self, tables: TiedTables) -> Result<bool> {
        self.0.settle(true, tables)
    }

    /// Finds tensors by name and shape, or lists all that are missing or of another shape or number type.
    pub fn find(self, wanted: &[(String, Vec<usize>)]) -> Result<StoredTensors> {
        Tensors::find(&TensorTable::listed(wanted), None, self.0).map(StoredTensors)
    }
}

impl StoredTensors {
    /// Reads the numbers of a tensor that was asked for.
    pub fn numbers(&self, name: &str) -> Result<Vec<f32>> {
        Ok(self.0.read(name)?.numbers())
    }
}
