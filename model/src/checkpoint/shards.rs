//! The files with a checkpoint's tensors, and the file and name under which a tensor is found.
//!
//! Opened by `folder`, asked by `locate`. Decides as well whether the embedding table and the output table are one
//! tensor: a configuration ties them, but the files may hold both, or the one under either name.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::ops::Range;
use std::path::PathBuf;

use kernels::{DType, Scheme, WeightPart};
use safetensors::Dtype;

use super::names::{Spelling, TableNames, is_known_beside};
use super::quantized_tensor::quantized_entries;
use super::table::TensorTable;
use super::tensor_file::{StoredTensor, TensorFile};
use crate::config::Generation;
use crate::error::Result;

/// Number of values that are compared at a time.
const COMPARED: usize = 1 << 18;

/// The files with tensors.
pub(super) struct Shards {
    pub origin: PathBuf,
    pub files: Vec<TensorFile>,
    /// Number of the file that the index places each tensor in; without an index there is one file.
    pub promised: Option<BTreeMap<String, usize>>,
    /// Other ways in which the files may spell names.
    pub spellings: &'static [Spelling],
    /// Tables whose only tensor is stored under the name of the output table.
    renamed: Option<TableNames>,
}

/// A tensor that was found.
pub(super) struct FoundTensor<'a> {
    /// Number of the file.
    pub file: usize,
    pub stored: StoredTensor<'a>,
}

impl Shards {
    pub fn new(origin: PathBuf, files: Vec<TensorFile>, promised: Option<BTreeMap<String, usize>>) -> Self {
        Self { origin, files, promised, spellings: &[], renamed: None }
    }

    /// Finds a tensor under any of its names.
    pub fn find(&self, name: &str) -> Option<FoundTensor<'_>> {
        let renamed = self.renamed.as_ref().filter(|tables| tables.embedding == name);
        let renamed = renamed.map(|tables| Cow::Borrowed(tables.output));
        self.spellings(name).chain(renamed).find_map(|name| self.find_as(&name))
    }

    /// Whether any tensor has a name with this part.
    pub fn hold(&self, part: &str) -> bool {
        self.files.iter().any(|file| file.names().any(|name| name.contains(part)))
    }

    /// The names under which a tensor may be stored.
    fn spellings<'a>(&self, name: &'a str) -> impl Iterator<Item = Cow<'a, str>> {
        let others = self.spellings.iter().filter_map(move |Spelling { usual, other }| {
            let rest = name.strip_prefix(usual)?;
            Some(if other.is_empty() { Cow::Borrowed(rest) } else { Cow::Owned(format!("{other}{rest}")) })
        });
        std::iter::once(Cow::Borrowed(name)).chain(others)
    }

    fn find_as(&self, name: &str) -> Option<FoundTensor<'_>> {
        let file = match &self.promised {
            None => 0,
            Some(promised) => *promised.get(name)?,
        };
        Some(FoundTensor { file, stored: self.files[file].find(name)? })
    }

    /// The file in which the index places a tensor, under any of its names.
    pub fn promise(&self, name: &str) -> Option<String> {
        let promised = self.promised.as_ref()?;
        let file = *self.spellings(name).find_map(|name| promised.get(name.as_ref()))?;
        Some(self.files[file].file.path().file_name()?.to_string_lossy().into_owned())
    }

    /// Whether tables that the configuration ties are one tensor. As in transformers, an output table that is stored
    /// with other numbers than the embedding table is used, and a tied table may be stored under either name.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn are_tied(&mut self, tables: TableNames) -> Result<bool> {
        let equal = match (self.find(&tables.embedding), self.find(tables.output)) {
            (Some(embedding), Some(output)) => self.are_equal(&embedding, &output)?,
            (None, Some(_)) => {
                self.renamed = Some(tables);
                return Ok(true);
            }
            (_, None) => true,
        };
        if !equal {
            tracing::warn!(
                checkpoint = %self.origin.display(),
                "config.json ties {} to {}, but both are stored with different numbers: both are used as they are \
                 stored (tie_word_embeddings = false in config.json would say so)",
                tables.output,
                tables.embedding,
            );
        }
        Ok(equal)
    }

    /// Whether a table is stored a second time under another name, with other numbers.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn contradict(&self, Spelling { usual, other }: Spelling) -> Result<bool> {
        match (self.find(usual), self.find_as(other)) {
            (Some(first), Some(second)) if first.stored.range != second.stored.range || first.file != second.file => {
                Ok(!self.are_equal(&first, &second)?)
            }
            _ => Ok(false),
        }
    }

    /// Names of the tensors that nothing of the table is read from, in order.
    pub fn unread(&self, table: &TensorTable, scheme: Option<Scheme>) -> Vec<String> {
        let mut known: HashSet<String> = HashSet::new();
        for entry in table.entries() {
            known.extend(self.spellings(&entry.name).map(Cow::into_owned));
            if let Some(scheme) = scheme.and_then(|scheme| entry.role.scheme(scheme)) {
                known.extend(quantized_entries(&entry.name, &entry.shape, scheme).map(|piece| piece.name));
            }
        }
        let outputs = [TableNames::encoder_decoder(Generation::Gemma2), TableNames::decoder_only()];
        known.extend(outputs.iter().flat_map(|tables| self.spellings(tables.output)).map(Cow::into_owned));
        let names = self.files.iter().flat_map(TensorFile::names);
        let mut unread: Vec<String> =
            names.filter(|name| !known.contains(*name) && !is_known_beside(name)).map(str::to_owned).collect();
        unread.sort_unstable();
        unread
    }

    fn are_equal(&self, first: &FoundTensor<'_>, second: &FoundTensor<'_>) -> Result<bool> {
        let (shape, others) = (&first.stored.info.shape, &second.stored.info.shape);
        let types = (float_type(first.stored.info.dtype), float_type(second.stored.info.dtype));
        let (true, (Some(first_type), Some(second_type))) = (shape == others, types) else {
            return Ok(false);
        };
        let count = shape.iter().product();
        for start in (0..count).step_by(COMPARED) {
            let compared = start..count.min(start + COMPARED);
            let bytes =
                (self.read_part(first, first_type, &compared)?, self.read_part(second, second_type, &compared)?);
            let is_same = first_type == second_type && bytes.0 == bytes.1;
            if !is_same && numbers(&bytes.0, first_type) != numbers(&bytes.1, second_type) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Bytes of some of a tensor's numbers.
    fn read_part(&self, tensor: &FoundTensor<'_>, dtype: DType, part: &Range<usize>) -> Result<Vec<u8>> {
        let mut bytes = vec![0; part.len() * dtype.bytes()];
        let start = tensor.stored.range.start + part.start * dtype.bytes();
        self.files[tensor.file].file.read_into(start, &mut bytes)?;
        Ok(bytes)
    }
}

/// The type of a weight's numbers; `None` for types that weights cannot have.
pub(super) fn float_type(dtype: Dtype) -> Option<DType> {
    match dtype {
        Dtype::F32 => Some(DType::F32),
        Dtype::BF16 => Some(DType::Bf16),
        Dtype::F16 => Some(DType::F16),
        _ => None,
    }
}

/// The numbers in these bytes.
pub(super) fn numbers(bytes: &[u8], dtype: DType) -> Vec<f32> {
    let cols = bytes.len() / dtype.bytes();
    let mut numbers = vec![0.0; cols];
    WeightPart::Stored { rows: 1, cols, dtype, bytes }.read_row(0, &mut numbers);
    numbers
}
