//! An open checkpoint of any architecture: its configuration, with the stored numbers of every tensor it calls for.
//!
//! Opened by the server, by adaptation and by training. It reads files and hands out bytes; packing them for the
//! arithmetic is the backend's.

use std::borrow::Cow;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use kernels::{DType, Scheme};

use super::chat_files;
use super::checkpoint_config::CheckpointConfig;
use super::folder::{self, Folder};
use super::gguf::GgufFile;
use super::names::VISION_TOWER;
use super::open_file::OpenFile;
use super::shards::Shards;
use super::source::{TensorSource, WeightSource};
use super::tensor_data::TensorData;
use super::tensor_file::TensorFile;
use super::tensors::Tensors;
use crate::config::{
    Architecture, ConfigDocument, DecoderConfig, EncoderConfig, ModelConfig, NetworkConfig, PositionLimits,
};
use crate::demo;
use crate::error::{Error, Result, TensorProblem};

/// Tensors that are named in the log where several are not read.
const NAMED: usize = 5;

/// An encoder-decoder, which can be served.
pub type Checkpoint = OpenCheckpoint<ModelConfig>;
/// An encoder alone, with or without a classification head.
pub type EncoderCheckpoint = OpenCheckpoint<EncoderConfig>;
/// A decoder-only model, from which an encoder-decoder can be adapted.
pub type DecoderCheckpoint = OpenCheckpoint<DecoderConfig>;
/// A model of any architecture that can be trained.
pub(crate) type NetworkCheckpoint = OpenCheckpoint<NetworkConfig>;

/// A checkpoint whose configuration and tensors fit each other.
#[derive(Debug)]
pub struct OpenCheckpoint<C> {
    config: C,
    document: ConfigDocument,
    scheme: Option<Scheme>,
    tensors: Tensors,
    has_vision_tower: bool,
    unread: Vec<String>,
    others: OtherFiles,
}

/// Where the files without tensors are.
#[derive(Debug)]
enum OtherFiles {
    Embedded,
    Folder(Folder),
    /// Beside a GGUF file: the tokenizer that was named with it, and the file's own chat template.
    Given {
        tokenizer: Option<Vec<u8>>,
        chat_template: Option<String>,
    },
}

/// The architecture of a folder's checkpoint. Opening the checkpoint as such reports whatever is wrong with it.
///
/// # Errors
/// When there is no such folder, no `config.json` in it, or its `model_type` cannot be used.
pub fn architecture_of(folder: &Path) -> Result<Architecture> {
    Folder::open(folder)?.config_document()?.architecture()
}

impl<C: CheckpointConfig> OpenCheckpoint<C> {
    /// Opens a folder in the Hugging Face layout: `config.json`, `generation_config.json` where there is one, and
    /// `model.safetensors` or `model.safetensors.index.json` with its shards. Tensors are read when they are asked for.
    ///
    /// # Errors
    /// Names the file and what is wrong with it; for configuration and tensors, everything that is wrong at once.
    pub fn open(folder: &Path) -> Result<Self> {
        let folder = Folder::open(folder)?;
        let document = folder.config_document()?;
        let config = C::read(&document)?;
        let shards = folder.shards()?;
        Self::assemble(config, document, shards, OtherFiles::Folder(folder))
    }

    fn assemble(mut config: C, document: ConfigDocument, mut shards: Shards, others: OtherFiles) -> Result<Self> {
        shards.spellings = config.spellings();
        if let Some(tables) = config.tied_tables()
            && !shards.are_tied(tables)?
        {
            config.untie();
        }
        for table in config.shared_table().into_iter().flatten() {
            if shards.contradict(table)? {
                let (name, other) = (table.usual.to_owned(), table.other.to_owned());
                let problems = vec![TensorProblem::Differs { name, other }];
                return Err(Error::Tensors { origin: shards.origin, problems });
            }
        }
        let scheme = C::scheme(&document);
        let has_vision_tower = shards.hold(VISION_TOWER);
        let table = config.tensor_table();
        let unread = shards.unread(&table, scheme);
        let tensors = Tensors::find(&table, scheme, shards)?;
        warn_of_unread(tensors.origin(), &unread);
        Ok(Self { config, document, scheme, tensors, has_vision_tower, unread, others })
    }
}

/// Names tensors that the configuration does not call for: it may be that of another model.
fn warn_of_unread(origin: &Path, names: &[String]) {
    if names.is_empty() {
        return;
    }
    let named = names.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
    let more = names.len().saturating_sub(NAMED);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    tracing::warn!(
        checkpoint = %origin.display(),
        "{} tensors are not read, because the configuration does not call for them: {named}{more}",
        names.len(),
    );
}

impl<C> OpenCheckpoint<C> {
    /// The configuration.
    pub fn config(&self) -> &C {
        &self.config
    }

    /// The configuration as it is written in the files, every key kept.
    pub fn document(&self) -> &ConfigDocument {
        &self.document
    }

    /// The scheme that the matrices of the layers are quantised to; `None` when the checkpoint is as it was published.
    pub fn scheme(&self) -> Option<Scheme> {
        self.scheme
    }

    /// Whether its files hold a tower for images, which is never loaded.
    pub fn has_vision_tower(&self) -> bool {
        self.has_vision_tower
    }

    /// Names of the tensors in its files that nothing is read from, because the configuration does not call for them.
    /// Towers for images are not among them.
    pub fn unread_tensors(&self) -> &[String] {
        &self.unread
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
    pub(crate) fn other_file(&self, name: &str) -> Result<Option<Cow<'static, [u8]>>> {
        match &self.others {
            OtherFiles::Folder(folder) => Ok(folder.read(name)?.map(Cow::Owned)),
            OtherFiles::Embedded => Ok(demo::file(name).map(Cow::Borrowed)),
            OtherFiles::Given { tokenizer, chat_template } => Ok(match name {
                folder::TOKENIZER => tokenizer.clone().map(Cow::Owned),
                chat_files::TEMPLATE => chat_template.clone().map(|text| Cow::Owned(text.into_bytes())),
                _ => None,
            }),
        }
    }

    /// Reads a tensor of this configuration's [`super::TensorTable`], quantised where the checkpoint is.
    ///
    /// # Errors
    /// When its file cannot be read or has changed since it was opened, or a number is not finite.
    ///
    /// # Panics
    /// When the table holds no tensor of that name: every name in it was found when the checkpoint was opened.
    pub fn tensor(&self, name: &str) -> Result<TensorData> {
        self.tensors.read(name)
    }

    /// Reads some numbers of a tensor of the table, which is not quantised, and hands them to `take` stretch by stretch
    /// in the number type of [`Self::dtype`]: no more than a stretch is in memory.
    ///
    /// # Errors
    /// That of `take`, and as [`Self::tensor`], inside an error of [`io::ErrorKind::Other`].
    ///
    /// # Panics
    /// As [`Self::tensor`], and when the tensor is quantised.
    pub(crate) fn read_stretches(
        &self,
        name: &str,
        numbers: Range<usize>,
        take: &mut dyn FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        self.tensors.read_stretches(name, numbers, take)
    }

    /// The number type that a tensor of the table is stored in; `None` when it is quantised.
    ///
    /// # Panics
    /// When the table holds no tensor of that name.
    pub(crate) fn dtype(&self, name: &str) -> Option<DType> {
        self.tensors.dtype(name)
    }

    /// Bytes of all tensors that the configuration calls for.
    pub fn tensor_bytes(&self) -> u64 {
        self.tensors.bytes()
    }

    /// The configuration and its document, for whoever has read every tensor.
    pub(crate) fn into_description(self) -> (C, ConfigDocument) {
        (self.config, self.document)
    }
}

impl Checkpoint {
    /// The demo checkpoint that is part of the program.
    ///
    /// # Errors
    /// As [`OpenCheckpoint::open`]; the tests hold that there are none.
    pub fn embedded() -> Result<Self> {
        let origin = PathBuf::from("the embedded demo checkpoint");
        let path = origin.join(folder::CONFIG);
        let document = ConfigDocument::parse(&path, demo::CONFIG, Some(demo::GENERATION_CONFIG))?;
        let file = TensorFile::parse(OpenFile::embedded(origin.join(folder::TENSORS), demo::TENSORS))?;
        let shards = Shards::new(origin, vec![file], None);
        Self::assemble(ModelConfig::read(&document)?, document, shards, OtherFiles::Embedded)
    }

    /// Lowers the longest sequences that the model is loaded for.
    pub fn limit_positions(&mut self, limits: PositionLimits) {
        self.config.limit_positions(limits);
    }
}

impl DecoderCheckpoint {
    /// Opens a GGUF file. `tokenizer` is the model's `tokenizer.json`: the file's own vocabulary does not say how texts
    /// are split.
    ///
    /// # Errors
    /// Names the file and what is wrong with it.
    pub fn open_gguf(path: &Path, tokenizer: Option<&Path>) -> Result<Self> {
        let gguf = GgufFile::open(path)?;
        let document = gguf.config_document()?;
        let config = DecoderConfig::read(&document)?;
        let tokenizer = tokenizer.map(folder::read_tokenizer).transpose()?;
        let others = OtherFiles::Given { tokenizer, chat_template: gguf.chat_template().map(str::to_owned) };
        let tensors = Tensors::find_in_gguf(&config.tensor_table(), gguf, path.to_owned())?;
        let (has_vision_tower, unread) = (false, Vec::new());
        Ok(Self { config, document, scheme: None, tensors, has_vision_tower, unread, others })
    }
}

impl EncoderCheckpoint {
    /// Lowers the longest source that the model is loaded for.
    pub fn limit_source(&mut self, tokens: usize) {
        let positions = &mut self.config.encoder.max_positions;
        *positions = tokens.min(*positions);
    }
}

impl<C> TensorSource for OpenCheckpoint<C> {
    fn scheme(&self) -> Option<Scheme> {
        self.scheme()
    }

    fn total_bytes(&self) -> u64 {
        self.tensor_bytes()
    }

    fn tensor(&self, name: &str) -> Result<TensorData> {
        self.tensor(name)
    }
}

impl WeightSource for Checkpoint {
    fn config(&self) -> &ModelConfig {
        self.config()
    }
}
