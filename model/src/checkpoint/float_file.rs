//! A safetensors file of float32 numbers, as a training run saves its state.
//!
//! Read by `training`, which knows the tensors that should be in it.

use std::fs::File;
use std::path::Path;

use safetensors::Dtype;

use super::open_file::OpenFile;
use super::tensor_file::TensorFile;
use crate::error::{Error, Result};

/// The opened file.
#[derive(Debug)]
pub(crate) struct FloatFile {
    file: TensorFile,
}

impl FloatFile {
    /// Opens a file and checks its header.
    pub fn open(path: &Path) -> Result<Self> {
        let failed = |source| Error::File { action: "open", path: path.to_owned(), source };
        let file = File::open(path).map_err(failed)?;
        Ok(Self { file: TensorFile::parse(OpenFile::new(path.to_owned(), file)?)? })
    }

    /// Shape and numbers of a tensor; `None` when there is no float32 tensor of that name.
    ///
    /// # Errors
    /// When the file cannot be read, or has changed since it was opened.
    pub fn read(&self, name: &str) -> Result<Option<(Vec<usize>, Vec<f32>)>> {
        let stored = self.file.find(name).filter(|stored| stored.info.dtype == Dtype::F32);
        let Some(stored) = stored else { return Ok(None) };
        let bytes = self.file.file.read(stored.range)?;
        let (words, _) = bytes.as_chunks::<4>();
        let numbers = words.iter().map(|&word| f32::from_le_bytes(word)).collect();
        Ok(Some((stored.info.shape.clone(), numbers)))
    }
}
