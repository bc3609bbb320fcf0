//! The folder that a checkpoint lies in: which files it has, and which of them hold the tensors.
//!
//! Called when a checkpoint is opened. Reads only regular files inside the folder, each up to its size limit.

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use super::open_file::OpenFile;
use super::shard_index::ShardIndex;
use super::shards::Shards;
use super::tensor_file::TensorFile;
use crate::config::ConfigDocument;
use crate::error::{Error, Result};
use crate::input::strip_mark;

/// Settings of an adapter of PEFT, which is stored without the model that it changes.
const ADAPTER: &str = "adapter_config.json";
pub(crate) const CONFIG: &str = "config.json";
pub(crate) const GENERATION_CONFIG: &str = "generation_config.json";
pub(crate) const TENSORS: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
pub(crate) const TOKENIZER: &str = "tokenizer.json";

/// Size limit of a configuration. Published ones take some KiB; parsed JSON takes up to 16 times the bytes of its text.
const MAX_CONFIG_BYTES: u64 = 4 << 20;
/// Size limit of a shard index. Published ones take some hundred KiB.
const MAX_INDEX_BYTES: u64 = 16 << 20;
/// Size limit of other files. Published tokenizers take up to 35 MB.
const MAX_OTHER_BYTES: u64 = 64 << 20;

/// A checkpoint's folder.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
}

impl Folder {
    /// Checks that there is such a folder.
    pub fn open(path: &Path) -> Result<Self> {
        let metadata = fs::metadata(path).map_err(|source| failed("open", path, source))?;
        if !metadata.is_dir() {
            return Err(Error::WrongKind { path: path.to_owned(), expected: "a folder" });
        }
        Ok(Self { path: path.to_owned() })
    }

    /// Parses `config.json`, and `generation_config.json` where there is one.
    pub fn config_document(&self) -> Result<ConfigDocument> {
        if fs::exists(self.path.join(ADAPTER)).is_ok_and(|is_there| is_there) {
            return Err(Error::Adapter { folder: self.path.clone(), file: ADAPTER });
        }
        let config = self.read(CONFIG)?.ok_or_else(|| self.lacks(CONFIG))?;
        let generation = self.read(GENERATION_CONFIG)?;
        ConfigDocument::parse(&self.path.join(CONFIG), &config, generation.as_deref())
    }

    /// Opens the files with the tensors. As in transformers, a single file wins over an index.
    pub fn shards(&self) -> Result<Shards> {
        let origin = self.path.clone();
        let single = self.path.join(TENSORS);
        if let Some(file) = open_regular(&single)? {
            return Ok(Shards::new(origin, vec![opened(single, file)?], None));
        }
        let index = self.read(INDEX)?.ok_or_else(|| self.lacks("model.safetensors or model.safetensors.index.json"))?;
        let index = ShardIndex::parse(&self.path.join(INDEX), &index)?;

        let mut files = Vec::new();
        let mut missing = Vec::new();
        for name in index.files() {
            let path = self.path.join(name);
            match open_regular(&path)? {
                Some(file) => files.push(opened(path, file)?),
                None => missing.push(name.to_owned()),
            }
        }
        if !missing.is_empty() {
            return Err(Error::MissingShards { index: self.path.join(INDEX), shards: missing });
        }
        Ok(Shards::new(origin, files, Some(index.into_file_numbers())))
    }

    /// Reads a whole file; `None` when there is none of that name.
    pub fn read(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let limit_bytes = match name {
            CONFIG | GENERATION_CONFIG => MAX_CONFIG_BYTES,
            INDEX => MAX_INDEX_BYTES,
            _ => MAX_OTHER_BYTES,
        };
        let path = self.path.join(name);
        let contents = open_regular(&path)?.map(|file| read_bounded(&path, file, limit_bytes)).transpose()?;
        // A byte-order mark is no part of a text. Files that are no text stay as they are.
        Ok(if name.ends_with(".json") { contents.map(strip_mark) } else { contents })
    }

    fn lacks(&self, missing: &'static str) -> Error {
        Error::NotACheckpoint { folder: self.path.clone(), missing }
    }
}

/// Reads a `tokenizer.json` that is given by its path; it may be a pipe.
///
/// # Errors
/// When there is none, it is larger than any tokenizer, or the system refuses.
pub(crate) fn read_tokenizer(path: &Path) -> Result<Vec<u8>> {
    let file = File::open(path).map_err(|source| failed("read", path, source))?;
    read_bounded(path, file, MAX_OTHER_BYTES).map(strip_mark)
}

/// Reads a whole file of at most `limit_bytes`.
fn read_bounded(path: &Path, file: File, limit_bytes: u64) -> Result<Vec<u8>> {
    let failed = |source| failed("read", path, source);
    let too_large = |bytes| Error::FileTooLarge { path: path.to_owned(), bytes, limit_bytes };
    let bytes = file.metadata().map_err(failed)?.len();
    if bytes > limit_bytes {
        return Err(too_large(bytes));
    }
    // The file may grow, and a pipe has no length.
    let mut contents = Vec::new();
    file.take(limit_bytes + 1).read_to_end(&mut contents).map_err(failed)?;
    let bytes = contents.len() as u64;
    if bytes > limit_bytes { Err(too_large(bytes)) } else { Ok(contents) }
}

/// Opens a regular file; `None` when there is nothing of that name. The kind is checked first, because opening a pipe
/// waits for a writer.
fn open_regular(path: &Path) -> Result<Option<File>> {
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(failed("open", path, source)),
    };
    if !metadata.is_file() {
        return Err(Error::WrongKind { path: path.to_owned(), expected: "a regular file" });
    }
    File::open(path).map(Some).map_err(|source| failed("open", path, source))
}

fn opened(path: PathBuf, file: File) -> Result<TensorFile> {
    TensorFile::parse(OpenFile::new(path, file)?)
}

fn failed(action: &'static str, path: &Path, source: std::io::Error) -> Error {
    Error::File { action, path: path.to_owned(), source }
}
