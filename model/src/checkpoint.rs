//! A checkpoint: a checked configuration with the stored numbers of every tensor it calls for.
//!
//! Opened by the server, read by the weights of this crate. It reads files and hands out bytes; packing them for
//! the arithmetic is the backend's. Whoever writes a checkpoint does it through `writer` and `layout`.

mod bytes;
mod classifier;
mod decoder_only;
mod file_format;
mod files;
pub(crate) mod float_file;
pub(crate) mod folder;
mod kind;
pub(crate) mod layout;
pub(crate) mod open_file;
mod place;
mod quantize;
mod shards;
mod table;
mod tensor_data;
mod tensor_file;
mod tensors;
pub(crate) mod writer;

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use kernels::Scheme;

use crate::config::{ConfigFile, ModelConfig, PositionLimits};
use crate::demo;
use crate::error::Result;
use folder::Folder;
use open_file::OpenFile;
use shards::Shards;
use tensor_file::TensorFile;
use tensors::Tensors;

pub use classifier::ClassifierCheckpoint;
pub use decoder_only::DecoderCheckpoint;
pub use file_format::FileFormat;
pub(crate) use files::CheckpointFiles;
pub use kind::CheckpointKind;
pub use quantize::quantize;
pub(crate) use shards::TiedTables;
pub use table::TensorTable;
pub(crate) use tensor_data::Numbers;
pub use tensor_data::TensorData;

/// A checkpoint whose configuration and tensors fit each other.
#[derive(Debug)]
pub struct Checkpoint {
    config: ModelConfig,
    scheme: Option<Scheme>,
    ignored_generation_keys: Vec<String>,
    tensors: Tensors,
    others: OtherFiles,
}

/// Where the files without tensors are.
#[derive(Debug)]
enum OtherFiles {
    Embedded,
    Folder(Folder),
}

impl Checkpoint {
    /// Opens a folder in the Hugging Face layout: `config.json`, `generation_config.json` where there is one, and
    /// `model.safetensors` or `model.safetensors.index.json` with its shards. Tensors are read when they are asked for.
    ///
    /// # Errors
    /// Names the file and what is wrong with it; for configuration and tensors, everything that is wrong at once.
    pub fn open(folder: &Path) -> Result<Self> {
        let folder = Folder::open(folder)?;
        let config = folder.config()?;
        let shards = folder.shards()?;
        Self::assemble(config, shards, OtherFiles::Folder(folder))
    }

    /// The demo checkpoint that is part of the program.
    ///
    /// # Errors
    /// As [`Checkpoint::open`]; the tests hold that there are none.
    pub fn embedded() -> Result<Self> {
        let origin = PathBuf::from("the embedded demo checkpoint");
        let config = ConfigFile::read(&origin.join(folder::CONFIG), demo::CONFIG, Some(demo::GENERATION_CONFIG))?;
        let file = TensorFile::parse(OpenFile::embedded(origin.join(folder::TENSORS), demo::TENSORS))?;
        Self::assemble(config, Shards::new(origin, vec![file], None), OtherFiles::Embedded)
    }

    fn assemble(config: ConfigFile, mut shards: Shards, others: OtherFiles) -> Result<Self> {
        let ConfigFile { model: mut config, scheme, ignored_generation_keys } = config;
        config.tie_word_embeddings = shards.settle(config.tie_word_embeddings, TiedTables::ENCODER_DECODER)?;
        let tensors = Tensors::find(&TensorTable::new(&config), scheme, shards)?;
        Ok(Self { config, scheme, ignored_generation_keys, tensors, others })
    }

    /// The configuration.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Keys of `generation_config.json` that ask for something nobody here does, in their order.
    pub fn ignored_generation_keys(&self) -> &[String] {
        &self.ignored_generation_keys
    }

    /// Shortens the sequences that the model is loaded for, where they are longer.
    pub fn limit_positions(&mut self, limits: PositionLimits) {
        self.config.limit_positions(limits);
    }

    /// What the matrices of the layers are quantised to; `None` when the checkpoint is as it was published.
    pub fn scheme(&self) -> Option<Scheme> {
        self.scheme
    }

    /// The folder, or words that stand for the embedded checkpoint.
    pub fn origin(&self) -> &Path {
        self.tensors.origin()
    }

    /// The contents of `tokenizer.json`; `None` when there is no such file.
    ///
    /// # Errors
    /// When the file is there and cannot be read.
    pub fn tokenizer_json(&self) -> Result<Option<Cow<'static, [u8]>>> {
        self.other_file(folder::TOKENIZER)
    }

    /// The contents of a file that holds no tensors; `None` when there is none of that name.
    fn other_file(&self, name: &str) -> Result<Option<Cow<'static, [u8]>>> {
        match &self.others {
            OtherFiles::Folder(folder) => Ok(folder.read(name)?.map(Cow::Owned)),
            OtherFiles::Embedded => Ok(demo::file(name).map(Cow::Borrowed)),
        }
    }

    /// Reads a tensor of this configuration's [`TensorTable`], quantised where the checkpoint is.
    ///
    /// # Errors
    /// When its file cannot be read or has changed since it was opened, or a number is not finite.
    ///
    /// # Panics
    /// When the table holds no tensor of that name: every name in it was found when the checkpoint was opened.
    pub fn tensor(&self, name: &str) -> Result<TensorData> {
        self.tensors.read(name)
    }

    /// Bytes of all tensors that the configuration calls for: what a load has to get through.
    pub fn tensor_bytes(&self) -> u64 {
        self.tensors.bytes()
    }
}
