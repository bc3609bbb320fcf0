//! One safetensors file: its header, read without trusting it.
//!
//! Called by `checkpoint::folder`. What the tensors should be is the table's to say.

use std::collections::HashMap;
use std::ops::Range;
use std::path::PathBuf;

use safetensors::tensor::{Metadata, TensorInfo};

use super::mapped::Bytes;
use crate::error::{Damage, Error, Result};

/// Bytes of the number that gives the header's length.
const LENGTH_BYTES: usize = 8;
/// More than a header of any number of tensors needs; the format's own limit.
const MAX_HEADER_BYTES: u64 = 100_000_000;

/// A safetensors file whose header has been read and matches the file's length.
#[derive(Debug)]
pub(super) struct TensorFile {
    pub path: PathBuf,
    pub bytes: Bytes,
    tensors: HashMap<String, TensorInfo>,
    data_start: usize,
}

/// A tensor as the header describes it, with the bytes of the file that it takes.
pub(super) struct StoredTensor<'a> {
    pub info: &'a TensorInfo,
    pub range: Range<usize>,
}

impl TensorFile {
    /// Reads the header.
    pub fn parse(path: PathBuf, bytes: Bytes) -> Result<Self> {
        match read_header(bytes.as_slice()) {
            Ok((tensors, data_start)) => Ok(Self { path, bytes, tensors, data_start }),
            Err(damage) => Err(Error::Damaged { path, damage }),
        }
    }

    pub fn find(&self, name: &str) -> Option<StoredTensor<'_>> {
        let info = self.tensors.get(name)?;
        let (start, end) = info.data_offsets;
        Some(StoredTensor { info, range: self.data_start + start..self.data_start + end })
    }
}

/// The tensors and where their data starts. Afterwards every offset lies inside the file.
fn read_header(file: &[u8]) -> std::result::Result<(HashMap<String, TensorInfo>, usize), Damage> {
    let file_bytes = file.len() as u64;
    if file.is_empty() {
        return Err(Damage::Empty);
    }
    if file.starts_with(b"version https://git-lfs") {
        return Err(Damage::LargeFilePointer);
    }
    let header_bytes =
        file.first_chunk::<LENGTH_BYTES>().map_or(LENGTH_BYTES as u64, |length| u64::from_le_bytes(*length));
    let header = usize::try_from(header_bytes)
        .ok()
        .filter(|_| header_bytes <= MAX_HEADER_BYTES)
        .and_then(|length| file.get(LENGTH_BYTES..LENGTH_BYTES + length))
        .ok_or(Damage::HeaderLength { header_bytes, file_bytes })?;

    // The crate checks that offsets follow one another without gap or overlap and match shapes and types.
    let metadata: Metadata = serde_json::from_slice(header).map_err(|source| Damage::Header { source })?;
    let data_start = LENGTH_BYTES + header.len();
    let expected_bytes = (metadata.data_len() as u64).saturating_add(data_start as u64);
    if expected_bytes != file_bytes {
        return Err(Damage::DataLength { expected_bytes, file_bytes });
    }
    let tensors = metadata.tensors().into_iter().map(|(name, info)| (name, info.clone())).collect();
    Ok((tensors, data_start))
}
