//! The files of a checkpoint whose architecture its reader knows: configurations as texts, tensors by a given list.
//!
//! Opened by the network that is trained, which has more architectures than are served.

use std::path::{Path, PathBuf};

use super::folder::Folder;
use super::table::TensorTable;
use super::tensors::Tensors;
use crate::error::Result;

/// A folder in the Hugging Face layout.
pub(crate) struct CheckpointFiles(Folder);

/// Tensors that were found as they should be; mapped, not read.
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

    /// Finds tensors by name and shape, or lists all that are missing or of another shape or number type.
    pub fn tensors(&self, wanted: &[(String, Vec<usize>)]) -> Result<StoredTensors> {
        Tensors::find(&TensorTable::listed(wanted), None, self.0.shards()?).map(StoredTensors)
    }
}

impl StoredTensors {
    /// The numbers of a tensor that was asked for; the memory of its pages is given back.
    pub fn numbers(&self, name: &str) -> Vec<f32> {
        let part = self.0.part(name);
        let (rows, cols) = part.shape();
        let mut numbers = vec![0.0; rows * cols];
        numbers.chunks_exact_mut(cols).enumerate().for_each(|(row, numbers)| part.read_row(row, numbers));
        self.0.release(name);
        numbers
    }
}
