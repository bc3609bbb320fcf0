//! The tensors of an open checkpoint of any architecture: found and checked, read one by one.
//!
//! Made when a checkpoint is opened, from the table of its architecture. Knows no configuration.

use std::collections::HashMap;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use kernels::{DType, Scheme};

use super::gguf::GgufFile;
use super::locate::locate;
use super::location::TensorLocation;
use super::open_file::OpenFile;
use super::shards::Shards;
use super::table::TensorTable;
use super::tensor_data::TensorData;
use crate::error::Result;

/// Every tensor of a table, in the files that hold them.
#[derive(Debug)]
pub(super) struct Tensors {
    files: Vec<OpenFile>,
    locations: HashMap<String, TensorLocation>,
    origin: PathBuf,
}

impl Tensors {
    /// Finds every tensor of the table, or lists all that are missing or of another shape or number type.
    pub fn find(table: &TensorTable, scheme: Option<Scheme>, shards: Shards) -> Result<Self> {
        let locations = locate(table, scheme, &shards)?;
        let files = shards.files.into_iter().map(|file| file.file).collect();
        Ok(Self { files, locations, origin: shards.origin })
    }

    /// Finds every tensor of the table in a GGUF file, or lists all that are missing or of another shape or type.
    pub fn find_in_gguf(table: &TensorTable, gguf: GgufFile, origin: PathBuf) -> Result<Self> {
        let locations = gguf.locate(table)?;
        Ok(Self { files: vec![gguf.into_file()], locations, origin })
    }

    pub fn origin(&self) -> &Path {
        &self.origin
    }

    /// Reads a tensor of the table; refuses numbers that are not finite.
    pub fn read(&self, name: &str) -> Result<TensorData> {
        self.location(name).read(name, &self.files)
    }

    /// Reads some numbers of a tensor of the table that is not quantised, and hands them to `take` stretch by stretch.
    pub fn read_stretches(
        &self,
        name: &str,
        numbers: Range<usize>,
        take: &mut dyn FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        self.location(name).read_stretches(name, &self.files, numbers, take)
    }

    /// Number type of a tensor of the table that is not quantised.
    pub fn dtype(&self, name: &str) -> Option<DType> {
        self.location(name).dtype()
    }

    /// Bytes of all tensors of the table.
    pub fn bytes(&self) -> u64 {
        self.locations.values().map(TensorLocation::bytes).sum()
    }

    fn location(&self, name: &str) -> &TensorLocation {
        self.locations.get(name).unwrap_or_else(|| panic!("{name} is not in the table of this configuration's tensors"))
    }
}
