//! The header of a GGUF file, read without trusting it: settings by name, and where each tensor lies.
//!
//! Called by `file`. Follows the format's description (ggml-org/ggml, docs/gguf.md), versions 2 and 3, little-endian.

use std::collections::HashMap;

use serde_json::{Map, Value};

use crate::checkpoint::open_file::OpenFile;
use crate::error::{Damage, Error, Result};

/// Longest header that is read. Those of Gemma take up to 16 MB, nearly all of it vocabulary.
const MAX_HEADER_BYTES: usize = 64 << 20;
/// Longest text that is kept; chat templates take up to some tens of KB.
const MAX_TEXT_BYTES: usize = 1 << 20;
/// Most dimensions of a tensor.
const MAX_DIMENSIONS: u32 = 4;
/// Deepest list of lists.
const MAX_DEPTH: usize = 4;
/// Boundary at which the data starts when no setting says another.
const ALIGNMENT: u64 = 32;

/// The contents of a header.
pub(super) struct Header {
    /// Every setting that is a number, a flag or a text. Lists are left out: vocabularies are read from a tokenizer.
    pub settings: Map<String, Value>,
    pub tensors: HashMap<String, HeaderTensor>,
}

/// A tensor as the header describes it.
#[derive(Debug)]
pub(super) struct HeaderTensor {
    /// Rows before columns, the reverse of the file's order.
    pub shape: Vec<usize>,
    /// The format's number of the tensor's type.
    pub type_number: u32,
    /// First byte in the file.
    pub start: usize,
}

impl Header {
    /// Reads the header of a file.
    ///
    /// # Errors
    /// When it is no GGUF file, one of another version, or breaks off.
    pub fn read(file: &OpenFile) -> Result<Self> {
        let bytes = file.read(0..file.bytes().min(MAX_HEADER_BYTES))?;
        let damaged = |damage| Error::Damaged { path: file.path().to_owned(), damage };
        let unusable = |reason| Error::Gguf { path: file.path().to_owned(), reason };
        if bytes.is_empty() {
            return Err(damaged(Damage::Empty));
        }
        if !bytes.starts_with(b"GGUF") {
            return Err(unusable("it does not begin as a GGUF file: give such a file, or the folder of a checkpoint"));
        }
        let mut reader = Reader { bytes: &bytes, at: 4 };
        match reader.u32() {
            Some(2 | 3) => {}
            Some(version) if version.swap_bytes() == 3 => {
                return Err(unusable("its numbers are big-endian: convert it again on a little-endian machine"));
            }
            _ => {
                return Err(unusable("its version is neither 2 nor 3: convert the model again with a newer llama.cpp"));
            }
        }
        reader.header().ok_or_else(|| damaged(Damage::GgufHeader { byte: reader.at, limit_bytes: MAX_HEADER_BYTES }))
    }
}

/// Reads from the start of the file on. `None` means that the header breaks off, or holds something that the format
/// does not know.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    /// The header after the version.
    fn header(&mut self) -> Option<Header> {
        let (tensor_count, setting_count) = (self.u64()?, self.u64()?);
        let mut settings = Map::new();
        for _ in 0..setting_count {
            let name = self.text()??;
            let kind = self.u32()?;
            if let Some(value) = self.value(kind, 0)? {
                settings.insert(name, value);
            }
        }
        let mut tensors = HashMap::new();
        for _ in 0..tensor_count {
            let (name, tensor) = self.tensor()?;
            tensors.insert(name, tensor);
        }
        let alignment = settings.get("general.alignment").and_then(Value::as_u64).unwrap_or(ALIGNMENT);
        let data_start = (self.at as u64).checked_next_multiple_of(alignment)?;
        for tensor in tensors.values_mut() {
            tensor.start = tensor.start.checked_add(usize::try_from(data_start).ok()?)?;
        }
        Some(Header { settings, tensors })
    }

    /// A tensor's description; its start counts from the data's.
    fn tensor(&mut self) -> Option<(String, HeaderTensor)> {
        let name = self.text()??;
        let dimensions = self.u32().filter(|dimensions| *dimensions <= MAX_DIMENSIONS)?;
        let mut shape = Vec::new();
        for _ in 0..dimensions {
            shape.push(usize::try_from(self.u64()?).ok()?);
        }
        shape.reverse();
        let type_number = self.u32()?;
        let start = usize::try_from(self.u64()?).ok()?;
        Some((name, HeaderTensor { shape, type_number, start }))
    }

    /// A value of a kind; the inner `None` stands for a list or a long text, which is passed over.
    fn value(&mut self, kind: u32, depth: usize) -> Option<Option<Value>> {
        let value = match kind {
            0 => Value::from(self.array::<1>()?[0]),
            1 => Value::from(i8::from_le_bytes(self.array()?)),
            2 => Value::from(u16::from_le_bytes(self.array()?)),
            3 => Value::from(i16::from_le_bytes(self.array()?)),
            4 => Value::from(self.u32()?),
            5 => Value::from(i32::from_le_bytes(self.array()?)),
            6 => Value::from(f32::from_le_bytes(self.array()?)),
            7 => Value::from(self.array::<1>()?[0] != 0),
            8 => return Some(self.text()?.map(Value::from)),
            9 => return self.pass_list(depth).map(|()| None),
            10 => Value::from(self.u64()?),
            11 => Value::from(i64::from_le_bytes(self.array()?)),
            12 => Value::from(f64::from_le_bytes(self.array()?)),
            _ => return None,
        };
        Some(Some(value))
    }

    fn pass_list(&mut self, depth: usize) -> Option<()> {
        let (kind, count) = (self.u32()?, self.u64()?);
        let width = match kind {
            0 | 1 | 7 => 1,
            2 | 3 => 2,
            4..=6 => 4,
            10..=12 => 8,
            8 => return (0..count).try_for_each(|_| self.text().map(drop)),
            9 if depth < MAX_DEPTH => return (0..count).try_for_each(|_| self.pass_list(depth + 1)),
            _ => return None,
        };
        self.take(usize::try_from(count.checked_mul(width)?).ok()?).map(drop)
    }

    /// A text; the inner `None` stands for one that is too long to be kept.
    fn text(&mut self) -> Option<Option<String>> {
        let length = usize::try_from(self.u64()?).ok()?;
        let bytes = self.take(length)?;
        Some((length <= MAX_TEXT_BYTES).then(|| String::from_utf8_lossy(bytes).into_owned()))
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.first_chunk().copied()
    }

    fn take(&mut self, count: usize) -> Option<&[u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(count)?)?;
        self.at += count;
        Some(taken)
    }
}
