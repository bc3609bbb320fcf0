//! The files with a checkpoint's tensors, and under which name and in which file a tensor is found.
//!
//! Opened by `folder`, asked by `place`. Also settles whether two tables are one: a configuration says so, but the files
//! may hold both, or the one under either name.

use std::collections::BTreeMap;
use std::path::PathBuf;

use kernels::{DType, WeightPart};
use safetensors::Dtype;

use super::tensor_file::{StoredTensor, TensorFile};
use crate::error::Result;

/// Numbers of two tables that are compared at a time.
const COMPARED: usize = 1 << 18;

/// All files with tensors.
pub(super) struct Shards {
    pub origin: PathBuf,
    pub files: Vec<TensorFile>,
    /// Which file the index places each tensor in, by number; without an index there is one file.
    pub promised: Option<BTreeMap<String, usize>>,
    /// A table that is stored under the other name of its pair only.
    renamed: Option<TiedTables>,
}

/// Names of the embedding table and the output table, which are one where a configuration ties them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TiedTables {
    pub input: &'static str,
    pub output: &'static str,
}

impl TiedTables {
    pub const ENCODER_DECODER: Self =
        Self { input: "model.decoder.embed_tokens.weight", output: "lm_head.out_proj.weight" };
    pub const DECODER_ONLY: Self = Self { input: "model.embed_tokens.weight", output: "lm_head.weight" };
}

impl Shards {
    pub fn new(origin: PathBuf, files: Vec<TensorFile>, promised: Option<BTreeMap<String, usize>>) -> Self {
        Self { origin, files, promised, renamed: None }
    }

    /// A tensor and the number of its file. Some writers leave the prefix of the outer module away.
    pub fn find(&self, name: &str) -> Option<(usize, StoredTensor<'_>)> {
        let renamed = self.renamed.filter(|tables| tables.input == name).map(|tables| tables.output);
        [Some(name), name.strip_prefix("model."), renamed].into_iter().flatten().find_map(|name| self.find_as(name))
    }

    fn find_as(&self, name: &str) -> Option<(usize, StoredTensor<'_>)> {
        let file = match &self.promised {
            None => 0,
            Some(promised) => *promised.get(name)?,
        };
        Some((file, self.files[file].find(name)?))
    }

    /// The file in which the index places a tensor, under either of its names.
    pub fn promise(&self, name: &str) -> Option<String> {
        let promised = self.promised.as_ref()?;
        let bare = name.strip_prefix("model.").unwrap_or(name);
        let file = *promised.get(name).or_else(|| promised.get(bare))?;
        Some(self.files[file].file.path().file_name()?.to_string_lossy().into_owned())
    }

    /// Whether the two tables are one. As transformers has it: an output table that is stored with other numbers than
    /// the embedding table is used, whatever the configuration says, and a tied table may be stored under either name.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn settle(&mut self, is_tied: bool, tables: TiedTables) -> Result<bool> {
        if !is_tied {
            return Ok(false);
        }
        let equal = match (self.find(tables.input), self.find(tables.output)) {
            (Some(input), Some(output)) => self.are_equal(&input, &output)?,
            (None, Some(_)) => {
                self.renamed = Some(tables);
                true
            }
            (_, None) => true,
        };
        if !equal {
            tracing::warn!(
                checkpoint = %self.origin.display(),
                "config.json ties {} to {}, but both are stored with different numbers: both are used as they are \
                 stored (tie_word_embeddings = false in config.json would say so)",
                tables.output,
                tables.input,
            );
        }
        Ok(equal)
    }

    fn are_equal(&self, first: &(usize, StoredTensor<'_>), second: &(usize, StoredTensor<'_>)) -> Result<bool> {
        let types = (float_type(first.1.info.dtype), float_type(second.1.info.dtype));
        let (true, (Some(first_type), Some(second_type))) = (first.1.info.shape == second.1.info.shape, types) else {
            return Ok(false);
        };
        let count = first.1.info.shape.iter().product();
        for start in (0..count).step_by(COMPARED) {
            let compared = start..count.min(start + COMPARED);
            let read = |(file, stored): &(usize, StoredTensor<'_>), dtype: DType| {
                let mut bytes = vec![0; compared.len() * dtype.bytes()];
                self.files[*file].file.read_into(stored.range.start + compared.start * dtype.bytes(), &mut bytes)?;
                Ok::<_, crate::Error>(bytes)
            };
            let bytes = (read(first, first_type)?, read(second, second_type)?);
            let is_same = first_type == second_type && bytes.0 == bytes.1;
            if !is_same && numbers(&bytes.0, first_type) != numbers(&bytes.1, second_type) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// The type of numbers that weights may be stored in.
pub(super) fn float_type(dtype: Dtype) -> Option<DType> {
    match dtype {
        Dtype::F32 => Some(DType::F32),
        Dtype::BF16 => Some(DType::Bf16),
        Dtype::F16 => Some(DType::F16),
        _ => None,
    }
}

fn numbers(bytes: &[u8], dtype: DType) -> Vec<f32> {
    let cols = bytes.len() / dtype.bytes();
    let mut numbers = vec![0.0; cols];
    WeightPart::Stored { rows: 1, cols, dtype, bytes }.read_row(0, &mut numbers);
    numbers
}
