//! The tensors of an opened checkpoint, whatever its architecture: found, checked and mapped, not read.
//!
//! Made by the checkpoints of each architecture from their table. Knows no configuration.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use kernels::{Scheme, WeightPart};

use super::folder::Shards;
use super::mapped::Bytes;
use super::place::{self, Place};
use super::table::TensorTable;
use crate::error::Result;

/// Every tensor of a table, in the files that hold them.
#[derive(Debug)]
pub(super) struct Tensors {
    files: Vec<Bytes>,
    places: HashMap<String, Place>,
    origin: PathBuf,
}

impl Tensors {
    /// Finds every tensor of the table, or lists all that are missing or of another shape or number type.
    pub fn find(table: &TensorTable, scheme: Option<Scheme>, shards: Shards) -> Result<Self> {
        let places = place::check(table, scheme, &shards)?;
        let files = shards.files.into_iter().map(|file| file.bytes).collect();
        Ok(Self { files, places, origin: shards.origin })
    }

    pub fn origin(&self) -> &Path {
        &self.origin
    }

    /// The stored numbers of a tensor of the table.
    pub fn part(&self, name: &str) -> WeightPart<'_> {
        self.place(name).part(&self.files)
    }

    /// Gives the memory of a tensor's pages back.
    pub fn release(&self, name: &str) {
        self.place(name).release(&self.files);
    }

    /// Bytes of all tensors of the table.
    pub fn bytes(&self) -> u64 {
        self.places.values().map(Place::bytes).sum()
    }

    fn place(&self, name: &str) -> &Place {
        self.places.get(name).unwrap_or_else(|| panic!("{name} is not in the table of this configuration's tensors"))
    }
}
