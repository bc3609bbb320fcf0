//! A checkpoint: a checked configuration with the stored numbers of every tensor it calls for.
//!
//! Opened by the server, read by the weights of this crate. It reads files and hands out bytes; packing them for
//! the arithmetic is the backend's. Whoever writes a checkpoint does it through `writer` and `layout`.

mod classifier;
mod decoder_only;
mod files;
pub(crate) mod float_file;
pub(crate) mod folder;
mod kind;
pub(crate) mod layout;
pub(crate) mod mapped;
mod place;
mod quantize;
mod table;
mod tensor_file;
mod tensors;
pub(crate) mod writer;

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use kernels::{Scheme, WeightPart};

use crate::config::{ConfigFile, ModelConfig};
use crate::demo;
use crate::error::Result;
use folder::{Folder, Shards};
use mapped::Bytes;
use tensor_file::TensorFile;
use tensors::Tensors;

pub use classifier::ClassifierCheckpoint;
pub use decoder_only::DecoderCheckpoint;
pub(crate) use files::CheckpointFiles;
pub use kind::CheckpointKind;
pub use quantize::quantize;
pub use table::TensorTable;

/// A checkpoint whose configuration and tensors fit each other.
#[derive(Debug)]
pub struct Checkpoint {
    config: ModelConfig,
    scheme: Option<Scheme>,
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
    /// `model.safetensors` or `model.safetensors.index.json` with its shards. Tensors are mapped, not read.
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
        let file = TensorFile::parse(origin.join(folder::TENSORS), Bytes::Embedded(demo::TENSORS))?;
        let shards = Shards { origin, files: vec![file], promised: None };
        Self::assemble(config, shards, OtherFiles::Embedded)
    }

    fn assemble(config: ConfigFile, shards: Shards, others: OtherFiles) -> Result<Self> {
        let ConfigFile { model: config, scheme } = config;
        let tensors = Tensors::find(&TensorTable::new(&config), scheme, shards)?;
        Ok(Self { config, scheme, tensors, others })
    }

    /// The configuration.
    pub fn config(&self) -> &ModelConfig {
        &self.config
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

    /// The stored numbers of a tensor of this configuration's [`TensorTable`], `[rows, cols]`, quantised where the
    /// checkpoint is; a norm has one row.
    ///
    /// # Panics
    /// When the table holds no tensor of that name: every name in it was found when the checkpoint was opened.
    pub fn tensor(&self, name: &str) -> WeightPart<'_> {
        self.tensors.part(name)
    }

    /// Gives the memory of a tensor's pages back to the system, for when its numbers have been copied elsewhere.
    /// Reading the tensor again reads the file again. Without effect on the embedded checkpoint.
    ///
    /// # Panics
    /// As [`Checkpoint::tensor`].
    pub fn release(&self, name: &str) {
        self.tensors.release(name);
    }

    /// Bytes of all tensors that the configuration calls for: what a load has to get through.
    pub fn tensor_bytes(&self) -> u64 {
        self.tensors.bytes()
    }
}
