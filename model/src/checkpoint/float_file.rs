//! A safetensors file of float32 numbers alone, mapped: what a training run saves of itself.
//!
//! Read by `training`. Which tensors there should be is the reader's to say.

use std::fs::File;
use std::path::Path;

use safetensors::Dtype;

use super::mapped::Bytes;
use super::tensor_file::TensorFile;
use crate::error::{Error, Result};

/// The opened file.
#[derive(Debug)]
pub(crate) struct FloatFile {
    file: TensorFile,
}

impl FloatFile {
    /// Maps a file and checks its header.
    pub fn open(path: &Path) -> Result<Self> {
        let failed = |source| Error::File { action: "open", path: path.to_owned(), source };
        let file = File::open(path).map_err(failed)?;
        let empty = file.metadata().map_err(failed)?.len() == 0;
        // An empty file cannot be mapped; the header's reader has the words for it.
        let bytes = if empty { Bytes::Embedded(&[]) } else { Bytes::map(path, &file)? };
        Ok(Self { file: TensorFile::parse(path.to_owned(), bytes)? })
    }

    /// Shape and numbers of a tensor, whose pages are then given back; `None` when there is no float32 tensor of that
    /// name.
    pub fn read(&self, name: &str) -> Option<(Vec<usize>, Vec<f32>)> {
        let stored = self.file.find(name).filter(|stored| stored.info.dtype == Dtype::F32)?;
        let bytes = &self.file.bytes.as_slice()[stored.range.clone()];
        let (words, _) = bytes.as_chunks::<4>();
        let numbers = words.iter().map(|&word| f32::from_le_bytes(word)).collect();
        self.file.bytes.release(stored.range);
        Some((stored.info.shape.clone(), numbers))
    }
}
