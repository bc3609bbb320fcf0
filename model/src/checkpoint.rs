//! A checkpoint: a checked configuration with the stored numbers of every tensor it calls for.
//!
//! Opened by the server, read by the weights of this crate. It reads files and hands out bytes; packing them for
//! the arithmetic is the backend's.

mod folder;
mod mapped;
mod table;
mod tensor_file;

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use kernels::{DType, WeightPart};

use crate::config::ModelConfig;
use crate::demo;
use crate::error::{Error, Result, TensorProblem};
use folder::{Folder, Shards};
use mapped::Bytes;
use tensor_file::TensorFile;

pub use table::TensorTable;

/// A checkpoint whose configuration and tensors fit each other.
#[derive(Debug)]
pub struct Checkpoint {
    config: ModelConfig,
    files: Vec<Bytes>,
    places: HashMap<String, Place>,
    tokenizer: TokenizerPlace,
    origin: PathBuf,
}

/// Where a tensor's numbers lie.
#[derive(Debug)]
struct Place {
    file: usize,
    range: Range<usize>,
    dtype: DType,
    rows: usize,
    cols: usize,
}

#[derive(Debug)]
enum TokenizerPlace {
    Embedded,
    Folder(Folder),
}

impl Checkpoint {
    /// Opens a folder in the Hugging Face layout: `config.json`, `generation_config.json` where there is one, and
    /// `model.safetensors` or `model.safetensors.index.json` with its shards. Tensors are mapped, not read.
    ///
    /// # Errors
    /// Names the file and what is wrong with it; for configuration and tensors, everything that is wrong at once.
    pub fn open(folder: &Path) -> Result<Self> {
        let folder = Folder::open(folder)?;
        let config = folder.config()?;
        let shards = folder.shards()?;
        Self::assemble(config, shards, TokenizerPlace::Folder(folder))
    }

    /// The demo checkpoint that is part of the program.
    ///
    /// # Errors
    /// As [`Checkpoint::open`]; the tests hold that there are none.
    pub fn embedded() -> Result<Self> {
        let origin = PathBuf::from("the embedded demo checkpoint");
        let config = ModelConfig::from_json(&origin.join("config.json"), demo::CONFIG, Some(demo::GENERATION_CONFIG))?;
        let file = TensorFile::parse(origin.join("model.safetensors"), Bytes::Embedded(demo::TENSORS))?;
        let shards = Shards { origin, files: vec![file], promised: None };
        Self::assemble(config, shards, TokenizerPlace::Embedded)
    }

    fn assemble(config: ModelConfig, shards: Shards, tokenizer: TokenizerPlace) -> Result<Self> {
        let places = check(&TensorTable::new(&config), &shards)?;
        let files = shards.files.into_iter().map(|file| file.bytes).collect();
        Ok(Self { config, files, places, tokenizer, origin: shards.origin })
    }

    /// The configuration.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// The folder, or words that stand for the embedded checkpoint.
    pub fn origin(&self) -> &Path {
        &self.origin
    }

    /// The contents of `tokenizer.json`; `None` when there is no such file.
    ///
    /// # Errors
    /// When the file is there and cannot be read.
    pub fn tokenizer_json(&self) -> Result<Option<Cow<'static, [u8]>>> {
        match &self.tokenizer {
            TokenizerPlace::Embedded => Ok(Some(Cow::Borrowed(demo::TOKENIZER))),
            TokenizerPlace::Folder(folder) => Ok(folder.tokenizer()?.map(Cow::Owned)),
        }
    }

    /// The stored numbers of a tensor of this configuration's [`TensorTable`], `[rows, cols]`; a norm has one row.
    ///
    /// # Panics
    /// When the table holds no tensor of that name: every name in it was found when the checkpoint was opened.
    pub fn tensor(&self, name: &str) -> WeightPart<'_> {
        let place = self.place(name);
        let bytes = &self.files[place.file].as_slice()[place.range.clone()];
        WeightPart::Stored { rows: place.rows, cols: place.cols, dtype: place.dtype, bytes }
    }

    /// Gives the memory of a tensor's pages back to the system, for when its numbers have been copied elsewhere.
    /// Reading the tensor again reads the file again. Without effect on the embedded checkpoint.
    ///
    /// # Panics
    /// As [`Checkpoint::tensor`].
    pub fn release(&self, name: &str) {
        let place = self.place(name);
        self.files[place.file].release(place.range.clone());
    }

    /// Bytes of all tensors that the configuration calls for: what a load has to get through.
    pub fn tensor_bytes(&self) -> u64 {
        self.places.values().map(|place| place.range.len() as u64).sum()
    }

    fn place(&self, name: &str) -> &Place {
        self.places.get(name).unwrap_or_else(|| panic!("{name} is not in the table of this configuration's tensors"))
    }
}

/// Finds every tensor of the table, or lists all that are missing or of another shape or number type.
fn check(table: &TensorTable, shards: &Shards) -> Result<HashMap<String, Place>> {
    let mut places = HashMap::new();
    let mut problems = Vec::new();
    for (name, shape) in table.iter() {
        match find(name, shape, shards) {
            Ok(place) => {
                places.insert(name.to_owned(), place);
            }
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() { Ok(places) } else { Err(Error::Tensors { origin: shards.origin.clone(), problems }) }
}

fn find(name: &str, shape: &[usize], shards: &Shards) -> std::result::Result<Place, TensorProblem> {
    // Some writers leave the prefix of the outer module away.
    let bare = name.strip_prefix("model.").unwrap_or(name);
    let (file, stored) = shards
        .find(name)
        .or_else(|| shards.find(bare))
        .ok_or_else(|| TensorProblem::Missing { name: name.to_owned(), shard: shards.promise(name, bare) })?;
    let tensor = stored.info;
    if tensor.shape != shape {
        let (expected, found) = (shape.to_vec(), tensor.shape.clone());
        return Err(TensorProblem::Shape { name: name.to_owned(), expected, found });
    }
    let dtype = match tensor.dtype {
        safetensors::Dtype::F32 => DType::F32,
        safetensors::Dtype::BF16 => DType::Bf16,
        safetensors::Dtype::F16 => DType::F16,
        other => return Err(TensorProblem::DType { name: name.to_owned(), found: other.to_string() }),
    };
    let (rows, cols) = match *shape {
        [rows, cols] => (rows, cols),
        _ => (1, shape.iter().product()),
    };
    Ok(Place { file, range: stored.range, dtype, rows, cols })
}
