//! Where in a checkpoint's files the numbers of each tensor lie.
//!
//! Made by `locate` when a checkpoint is opened, read when a tensor is asked for.

use std::io;
use std::ops::Range;

use kernels::{DType, Scheme};
use safetensors::Dtype;

use super::bytes::Bytes;
use super::gguf::Blocks;
use super::open_file::OpenFile;
use super::tensor_data::{Finite, Numbers, TensorData};
use crate::error::{Error, Result};

/// Numbers that are read at a time where a tensor is not read as a whole: whole blocks of every type of GGUF.
const STRETCH: usize = 1 << 20;

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

    /// Reads some of the numbers of a tensor that is not quantised to one of our schemes, and hands them to `take`
    /// stretch by stretch, as numbers of [`Self::dtype`].
    pub fn read_stretches(
        &self,
        name: &str,
        files: &[OpenFile],
        numbers: Range<usize>,
        take: &mut dyn FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        for start in numbers.clone().step_by(STRETCH) {
            let part = start..numbers.end.min(start + STRETCH);
            match &self.stored {
                StoredNumbers::Floats { dtype, numbers } => {
                    let bytes = part.start * dtype.bytes()..part.end * dtype.bytes();
                    take(&numbers.read_part(name, files, bytes).map_err(io::Error::other)?)?;
                }
                StoredNumbers::Blocks(blocks) => {
                    take(&blocks.read_part(name, &files[0], part).map_err(io::Error::other)?)?;
                }
                StoredNumbers::Quantized { .. } => unreachable!("{name} is quantised"),
            }
        }
        Ok(())
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
        self.read_part(name, files, 0..self.range.len())
    }

    /// Reads some of the bytes, counted from the first of the range: whole numbers.
    fn read_part(&self, name: &str, files: &[OpenFile], bytes: Range<usize>) -> Result<Bytes> {
        let (file, finite) = (&files[self.file], Finite::new(self.dtype));
        let place = self.range.start + bytes.start..self.range.start + bytes.end;
        let bytes = file.read_looking(place, |block| finite.look(block))?;
        if finite.holds() {
            return Ok(bytes);
        }
        Err(Error::NotFinite { path: file.path().to_owned(), tensor: name.to_owned() })
    }
}
