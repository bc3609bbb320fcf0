//! Where in a checkpoint's files the numbers of each tensor lie.
//!
//! Made by `locate` when a checkpoint is opened, read when a tensor is asked for.

use std::ops::Range;

use kernels::{DType, Scheme};
use safetensors::Dtype;

use super::bytes::Bytes;
use super::gguf::Blocks;
use super::open_file::OpenFile;
use super::tensor_data::{Finite, Numbers, TensorData};
use crate::error::{Error, Result};

/// Location of a tensor.
#[derive(Debug)]
pub(super) struct TensorLocation {
    pub rows: usize,
    pub cols: usize,
    pub stored: StoredNumbers,
}

/// The stretches of files that hold a tensor's numbers.
#[derive(Debug)]
pub(super) enum StoredNumbers {
    Floats {
        dtype: DType,
        numbers: FileRange,
    },
    Quantized {
        scheme: Scheme,
        integers: FileRange,
        scales: FileRange,
    },
    /// In a GGUF file, which is the only one of its checkpoint; read as float32.
    Blocks(Blocks),
}

/// Bytes of a file, which is named by its number.
#[derive(Debug)]
pub(super) struct FileRange {
    pub file: usize,
    pub dtype: Dtype,
    pub range: Range<usize>,
}

impl TensorLocation {
    /// Reads the numbers of the tensor, which is called `name`.
    pub fn read(&self, name: &str, files: &[OpenFile]) -> Result<TensorData> {
        let numbers = match &self.stored {
            StoredNumbers::Floats { dtype, numbers } => {
                Numbers::Stored { dtype: *dtype, bytes: numbers.read(name, files)? }
            }
            StoredNumbers::Quantized { scheme, integers, scales } => {
                let (integers, scales) = (integers.read(name, files)?, scales.read(name, files)?);
                Numbers::Quantized { scheme: *scheme, integers, scales }
            }
            StoredNumbers::Blocks(blocks) => {
                Numbers::Stored { dtype: DType::F32, bytes: blocks.read(name, &files[0])? }
            }
        };
        Ok(TensorData { rows: self.rows, cols: self.cols, numbers })
    }

    /// Number type of a tensor that is not quantised to one of our schemes.
    pub fn dtype(&self) -> Option<DType> {
        match self.stored {
            StoredNumbers::Floats { dtype, .. } => Some(dtype),
            StoredNumbers::Blocks(_) => Some(DType::F32),
            StoredNumbers::Quantized { .. } => None,
        }
    }

    /// Bytes of the tensor in its files.
    pub fn bytes(&self) -> u64 {
        let bytes = match &self.stored {
            StoredNumbers::Floats { numbers, .. } => numbers.range.len(),
            StoredNumbers::Quantized { integers, scales, .. } => integers.range.len() + scales.range.len(),
            StoredNumbers::Blocks(blocks) => blocks.bytes(),
        };
        bytes as u64
    }
}

impl FileRange {
    fn read(&self, name: &str, files: &[OpenFile]) -> Result<Bytes> {
        let (file, finite) = (&files[self.file], Finite::new(self.dtype));
        let bytes = file.read_looking(self.range.clone(), |block| finite.look(block))?;
        if finite.holds() {
            return Ok(bytes);
        }
        Err(Error::NotFinite { path: file.path().to_owned(), tensor: name.to_owned() })
    }
}
