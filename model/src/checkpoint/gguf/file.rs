//! A GGUF file whose header has been read: its configuration, and its tensors by their names in transformers.
//!
//! Opened by `open_checkpoint`.

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;

use serde_json::Value;

use super::blocks::{self, Blocks};
use super::header::{Header, HeaderTensor};
use super::names::{EMBEDDING, OUTPUT, in_gguf};
use crate::checkpoint::location::{StoredNumbers, TensorLocation};
use crate::checkpoint::open_file::OpenFile;
use crate::checkpoint::table::{TableEntry, TensorTable};
use crate::config::{ConfigDocument, GgufModel};
use crate::error::{Damage, Error, Result, TensorProblem};

/// An open GGUF file.
#[derive(Debug)]
pub(in crate::checkpoint) struct GgufFile {
    file: OpenFile,
    settings: Value,
    tensors: HashMap<String, HeaderTensor>,
}

impl GgufFile {
    /// Opens a file and reads its header.
    ///
    /// # Errors
    /// When the system refuses it, or it is no GGUF file with a whole model.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|source| Error::File { action: "open", path: path.to_owned(), source })?;
        let file = OpenFile::new(path.to_owned(), file)?;
        let Header { settings, tensors } = Header::read(&file)?;
        if settings.get("split.count").and_then(Value::as_u64).is_some_and(|count| count > 1) {
            let reason = "it is one of several parts: join them with `llama-gguf-split --merge`";
            return Err(Error::Gguf { path: path.to_owned(), reason });
        }
        Ok(Self { file, settings: Value::Object(settings), tensors })
    }

    /// The configuration as transformers would write it.
    ///
    /// # Errors
    /// When it is no Gemma that can be used, or settings are missing.
    pub fn config_document(&self) -> Result<ConfigDocument> {
        let vocab = self.tensors.get(EMBEDDING).and_then(|table| table.shape.first().copied());
        let is_tied = !self.tensors.contains_key(OUTPUT);
        GgufModel { path: self.file.path(), settings: &self.settings, vocab, is_tied }.document()
    }

    /// The chat template, if the file has one.
    pub fn chat_template(&self) -> Option<&str> {
        self.settings.get("tokenizer.chat_template").and_then(Value::as_str)
    }

    /// Finds every tensor of the table, or lists all that are missing or of another shape or number type.
    ///
    /// # Errors
    /// As said, and when the file ends before a tensor does.
    pub fn locate(&self, table: &TensorTable) -> Result<HashMap<String, TensorLocation>> {
        let mut locations = HashMap::new();
        let mut problems = Vec::new();
        for entry in table.entries() {
            match self.find(entry) {
                Ok(blocks) => {
                    self.check_end(entry, &blocks)?;
                    locations.insert(entry.name.clone(), location(entry, blocks));
                }
                Err(problem) => problems.push(problem),
            }
        }
        let origin = self.file.path().to_owned();
        if problems.is_empty() { Ok(locations) } else { Err(Error::Tensors { origin, problems }) }
    }

    /// The file, for reading tensors.
    pub fn into_file(self) -> OpenFile {
        self.file
    }

    fn find(&self, entry: &TableEntry) -> std::result::Result<Blocks, TensorProblem> {
        let name = in_gguf(&entry.name).unwrap_or_else(|| entry.name.clone());
        let Some(tensor) = self.tensors.get(&name) else {
            return Err(TensorProblem::Missing { name, shard: None });
        };
        if tensor.shape != entry.shape {
            return Err(TensorProblem::Shape { name, expected: entry.shape.clone(), found: tensor.shape.clone() });
        }
        let count = tensor.shape.iter().product();
        let format = blocks::format(tensor.type_number).filter(|format| Blocks::bytes_of(*format, count).is_some());
        let Some(format) = format else {
            let found = format!("type {} of ggml", tensor.type_number);
            return Err(TensorProblem::DType { name, found, usable: blocks::USABLE });
        };
        Ok(Blocks { format, start: tensor.start, count, one_added: entry.shape.len() == 1 })
    }

    fn check_end(&self, entry: &TableEntry, blocks: &Blocks) -> Result<()> {
        let end = blocks.start.checked_add(blocks.bytes());
        if end.is_some_and(|end| end <= self.file.bytes()) {
            return Ok(());
        }
        let damage = Damage::TensorOutside { tensor: entry.name.clone() };
        Err(Error::Damaged { path: self.file.path().to_owned(), damage })
    }
}

fn location(entry: &TableEntry, blocks: Blocks) -> TensorLocation {
    let (rows, cols) = entry.rows_and_cols();
    TensorLocation { rows, cols, stored: StoredNumbers::Blocks(blocks) }
}
