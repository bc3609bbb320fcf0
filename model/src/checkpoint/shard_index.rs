//! `model.safetensors.index.json`: the file that holds each tensor of a checkpoint in shards.
//!
//! Parsed by `folder`. Every file it names must lie in the folder of the index.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path};

use crate::error::{Error, Result};

/// Names of tensors with the names of their files.
#[derive(serde::Deserialize)]
pub(super) struct ShardIndex {
    weight_map: BTreeMap<String, String>,
}

impl ShardIndex {
    /// Parses the text of the index at `path`.
    pub fn parse(path: &Path, text: &[u8]) -> Result<Self> {
        let index: Self =
            serde_json::from_slice(text).map_err(|source| Error::Json { path: path.to_owned(), source })?;
        match index.weight_map.values().find(|name| !is_plain_name(name)) {
            Some(shard) => Err(Error::ShardOutside { index: path.to_owned(), shard: shard.clone() }),
            None => Ok(index),
        }
    }

    /// Names of the files, each once, in alphabetical order.
    pub fn files(&self) -> BTreeSet<&str> {
        self.weight_map.values().map(String::as_str).collect()
    }

    /// The position of each tensor's file in [`ShardIndex::files`].
    pub fn into_file_numbers(self) -> BTreeMap<String, usize> {
        let numbers: BTreeMap<&str, usize> =
            self.files().into_iter().enumerate().map(|(number, name)| (name, number)).collect();
        self.weight_map.iter().map(|(tensor, file)| (tensor.clone(), numbers[file.as_str()])).collect()
    }
}

fn is_plain_name(name: &str) -> bool {
    let mut components = Path::new(name).components();
    matches!((components.next(), components.next()), (Some(Component::Normal(only)), None) if only == name)
}
