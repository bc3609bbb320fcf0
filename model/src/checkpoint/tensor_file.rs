//! One safetensors file: its header, read without trusting it.
//!
//! Called by `folder` and `float_file`. The table of the configuration says what the tensors should be.

use std::collections::HashMap;
use std::ops::Range;

use safetensors::tensor::{Metadata, TensorInfo};

use super::open_file::OpenFile;
use crate::error::{Damage, Error, FileFormat, Result};

/// Bytes of the number that gives the header's length.
const LENGTH_BYTES: usize = 8;
/// Size limit of a header, enough for 100,000 tensors: no model that can be used here has a tenth of that.
const MAX_HEADER_BYTES: u64 = 16 << 20;
/// First bytes of a file, by which other formats are recognised.
const START_BYTES: usize = 64;

/// A safetensors file whose header has been read and matches the file's length.
#[derive(Debug)]
pub(super) struct TensorFile {
    pub file: OpenFile,
    tensors: HashMap<String, TensorInfo>,
    data_start: usize,
}

/// A tensor as the header describes it, with its range of bytes in the file.
pub(super) struct StoredTensor<'a> {
    pub info: &'a TensorInfo,
    pub range: Range<usize>,
}

impl TensorFile {
    /// Reads the header.
    pub fn parse(file: OpenFile) -> Result<Self> {
        let (tensors, data_start) = read_header(&file)?;
        Ok(Self { file, tensors, data_start })
    }

    /// Names of all its tensors, in no order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    pub fn find(&self, name: &str) -> Option<StoredTensor<'_>> {
        let info = self.tensors.get(name)?;
        let (start, end) = info.data_offsets;
        Some(StoredTensor { info, range: self.data_start + start..self.data_start + end })
    }
}

/// Reads the tensors and where their data starts. Every offset then lies inside the file.
fn read_header(file: &OpenFile) -> Result<(HashMap<String, TensorInfo>, usize)> {
    let damaged = |damage| Error::Damaged { path: file.path().to_owned(), damage };
    let file_bytes = file.bytes() as u64;
    let mut start = [0; START_BYTES];
    let start = &mut start[..START_BYTES.min(file.bytes())];
    file.read_into(0, start)?;
    if start.is_empty() {
        return Err(damaged(Damage::Empty));
    }
    if start.starts_with(b"version https://git-lfs") {
        return Err(damaged(Damage::LargeFilePointer));
    }
    let header_bytes =
        start.first_chunk::<LENGTH_BYTES>().map_or(LENGTH_BYTES as u64, |length| u64::from_le_bytes(*length));
    let is_possible =
        header_bytes <= MAX_HEADER_BYTES && header_bytes.saturating_add(LENGTH_BYTES as u64) <= file_bytes;
    if !is_possible {
        let path = file.path().to_owned();
        return Err(match FileFormat::of(start) {
            Some(found) => Error::OtherFormat { path, found },
            None => damaged(Damage::HeaderLength { header_bytes, limit_bytes: MAX_HEADER_BYTES, file_bytes }),
        });
    }
    let data_start = LENGTH_BYTES + header_bytes as usize;
    let header = file.read(LENGTH_BYTES..data_start)?;

    // The crate checks that offsets follow one another without gap or overlap and match shapes and types.
    let metadata: Metadata = serde_json::from_slice(&header).map_err(|source| damaged(Damage::Header { source }))?;
    let expected_bytes = (metadata.data_len() as u64).saturating_add(data_start as u64);
    if expected_bytes != file_bytes {
        return Err(damaged(Damage::DataLength { expected_bytes, file_bytes }));
    }
    let tensors = metadata.tensors().into_iter().map(|(name, info)| (name, info.clone())).collect();
    Ok((tensors, data_start))
}
