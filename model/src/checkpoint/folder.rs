//! The folder that a checkpoint lies in: which files it has, and which of them hold the tensors.
//!
//! Called by the checkpoints of each architecture. Reads only regular files inside the folder, and no more of them than their kind may hold.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::{Component, Path, PathBuf};

use super::mapped::Bytes;
use super::tensor_file::{StoredTensor, TensorFile};
use crate::config::ConfigFile;
use crate::error::{Error, Result};
use crate::input::strip_mark;

pub(crate) const CONFIG: &str = "config.json";
pub(crate) const GENERATION_CONFIG: &str = "generation_config.json";
pub(crate) const TENSORS: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
pub(crate) const TOKENIZER: &str = "tokenizer.json";

/// Published configurations take some KiB, indexes some hundred, tokenizers up to 35 MB.
const MAX_JSON_BYTES: u64 = 256 << 20;

/// A checkpoint's folder.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
}

/// All files with tensors.
pub(super) struct Shards {
    pub origin: PathBuf,
    pub files: Vec<TensorFile>,
    /// Which file the index places each tensor in, by number; without an index there is one file.
    pub promised: Option<BTreeMap<String, usize>>,
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

    pub fn config(&self) -> Result<ConfigFile> {
        let (path, config, generation) = self.config_texts()?;
        ConfigFile::read(&path, &config, generation.as_deref())
    }

    /// Path and text of `config.json`, and the text of `generation_config.json` where there is one.
    pub fn config_texts(&self) -> Result<(PathBuf, Vec<u8>, Option<Vec<u8>>)> {
        let config = self.read(CONFIG)?.ok_or_else(|| self.lacks(CONFIG))?;
        Ok((self.path.join(CONFIG), config, self.read(GENERATION_CONFIG)?))
    }

    /// Maps the file or files with the tensors; a single file wins over an index, as in transformers.
    pub fn shards(&self) -> Result<Shards> {
        let origin = self.path.clone();
        let single = self.path.join(TENSORS);
        if let Some(file) = open_regular(&single)? {
            return Ok(Shards { origin, files: vec![map(single, &file)?], promised: None });
        }
        let index = self.read(INDEX)?.ok_or_else(|| self.lacks("model.safetensors or model.safetensors.index.json"))?;
        let weight_map = self.read_index(&index)?;
        let names: BTreeSet<&str> = weight_map.values().map(String::as_str).collect();

        let mut files = Vec::new();
        let mut missing = Vec::new();
        for &name in &names {
            let path = self.path.join(name);
            match open_regular(&path)? {
                Some(file) => files.push(map(path, &file)?),
                None => missing.push(name.to_owned()),
            }
        }
        if !missing.is_empty() {
            return Err(Error::MissingShards { index: self.path.join(INDEX), shards: missing });
        }
        let number_of: BTreeMap<&str, usize> = names.iter().enumerate().map(|(number, &name)| (name, number)).collect();
        let promised = weight_map.iter().map(|(tensor, shard)| (tensor.clone(), number_of[shard.as_str()])).collect();
        Ok(Shards { origin, files, promised: Some(promised) })
    }

    /// Tensor names with the files that should hold them, each a plain name in this folder.
    fn read_index(&self, text: &[u8]) -> Result<BTreeMap<String, String>> {
        #[derive(serde::Deserialize)]
        struct Index {
            weight_map: BTreeMap<String, String>,
        }
        let path = self.path.join(INDEX);
        let index: Index = serde_json::from_slice(text).map_err(|source| Error::Json { path: path.clone(), source })?;
        match index.weight_map.values().find(|name| !is_plain_name(name)) {
            Some(shard) => Err(Error::ShardOutside { index: path, shard: shard.clone() }),
            None => Ok(index.weight_map),
        }
    }

    /// A whole file; `None` when there is none of that name.
    pub fn read(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let path = self.path.join(name);
        let Some(file) = open_regular(&path)? else { return Ok(None) };
        let bytes = file.metadata().map_err(|source| failed("read", &path, source))?.len();
        if bytes > MAX_JSON_BYTES {
            return Err(Error::FileTooLarge { path, bytes, limit_bytes: MAX_JSON_BYTES });
        }
        let mut contents = Vec::new();
        file.take(MAX_JSON_BYTES).read_to_end(&mut contents).map_err(|source| failed("read", &path, source))?;
        // A byte-order mark is no part of a text; what is no text is left as it is.
        Ok(Some(if name.ends_with(".json") { strip_mark(contents) } else { contents }))
    }

    fn lacks(&self, missing: &'static str) -> Error {
        Error::NotACheckpoint { folder: self.path.clone(), missing }
    }
}

impl Shards {
    /// A tensor and the number of its file.
    pub fn find(&self, name: &str) -> Option<(usize, StoredTensor<'_>)> {
        let file = match &self.promised {
            None => 0,
            Some(promised) => *promised.get(name)?,
        };
        Some((file, self.files[file].find(name)?))
    }

    /// The file in which the index places a tensor, under either of its names.
    pub fn promise(&self, name: &str, other_name: &str) -> Option<String> {
        let promised = self.promised.as_ref()?;
        let file = *promised.get(name).or_else(|| promised.get(other_name))?;
        Some(self.files[file].path.file_name()?.to_string_lossy().into_owned())
    }
}

/// Opens a regular file; `None` when there is nothing of that name. Asks for its kind first: opening a pipe waits.
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

fn map(path: PathBuf, file: &File) -> Result<TensorFile> {
    let bytes = file.metadata().map_err(|source| failed("read", &path, source))?.len();
    // An empty file cannot be mapped; the header's reader has the words for it.
    let bytes = if bytes == 0 { Bytes::Embedded(&[]) } else { Bytes::map(&path, file)? };
    TensorFile::parse(path, bytes)
}

fn is_plain_name(name: &str) -> bool {
    let mut components = Path::new(name).components();
    matches!((components.next(), components.next()), (Some(Component::Normal(only)), None) if only == name)
}

fn failed(action: &'static str, path: &Path, source: std::io::Error) -> Error {
    Error::File { action, path: path.to_owned(), source }
}
