//! A model as files in the published layout: weights, `config.json`, and the files that came with its source.
//!
//! Written by `state` (checkpoints) and `finish` (the final model).

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use kernels::DType;
use kernels::math::bf16_bits;
use safetensors::Dtype;

use super::error::{Error, Result};
use super::settings::SavedPrecision;
use crate::checkpoint::layout::{TensorEntry, TensorLayout};
use crate::checkpoint::writer::{COPIED, OutFolder};
use crate::config::ConfigDocument;
use crate::input;

const CONFIG: &str = "config.json";
/// Name of the file with the weights.
pub const WEIGHTS: &str = "model.safetensors";
/// Files that a model needs beside its tensors: tokenizer and generation settings.
#[derive(Debug, Clone, Default)]
pub struct Companions {
    files: Vec<(String, Vec<u8>)>,
}

impl Companions {
    /// Reads the companions in a checkpoint's folder, or a `tokenizer.json` alone.
    ///
    /// # Errors
    /// When a file exists and cannot be read.
    pub fn of(path: &Path) -> Result<Self> {
        let read = |name: &str, path: PathBuf| match contents_of(&path) {
            Ok(contents) => Ok(Some((name.to_owned(), contents))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(Error::File { action: "read", path, source }),
        };
        let files: Result<Vec<_>> = if path.is_dir() {
            COPIED.iter().map(|name| read(name, path.join(name))).collect()
        } else {
            Ok(vec![read("tokenizer.json", path.to_owned())?])
        };
        Ok(Self { files: files?.into_iter().flatten().collect() })
    }

    /// Takes one file from `others`, or leaves it out if they lack it.
    pub fn with_other(mut self, name: &str, others: Self) -> Self {
        self.files.retain(|(own, _)| own != name);
        self.files.extend(others.files.into_iter().filter(|(own, _)| own == name));
        self
    }

    /// The contents of a file.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.files.iter().find(|(own, _)| own == name).map(|(_, contents)| contents.as_slice())
    }
}

/// A companion's contents, without a byte-order mark before a JSON text.
fn contents_of(path: &Path) -> io::Result<Vec<u8>> {
    match path.extension() {
        Some(extension) if extension == "json" => input::read(path),
        _ => input::open(path).and_then(|mut file| {
            let mut contents = Vec::new();
            file.read_to_end(&mut contents)?;
            Ok(contents)
        }),
    }
}

/// A model to be written, without its numbers.
#[derive(Debug, Clone, Copy)]
pub struct Published<'a> {
    /// Configuration of the network.
    pub config: &'a ConfigDocument,
    /// Files of the source.
    pub companions: &'a Companions,
    /// Name and shape of every weight.
    pub weights: &'a [(String, Vec<usize>)],
    /// Number type of the weights in the file.
    pub precision: SavedPrecision,
}

impl Published<'_> {
    /// Writes all files; `numbers` gives the numbers of one weight at a time, so that only one is in memory.
    pub(super) fn write(
        &self,
        folder: &mut OutFolder,
        numbers: &mut dyn FnMut(&str) -> Result<Vec<f32>>,
    ) -> Result<()> {
        for (name, contents) in &self.companions.files {
            folder.write(name, |file| file.write_all(contents))?;
        }
        write_tensors(folder, WEIGHTS, self.weights, self.precision, numbers)?;
        let dtype = match self.precision {
            SavedPrecision::F32 => DType::F32,
            SavedPrecision::Bf16 => DType::Bf16,
        };
        let config = self.config.trained_text(dtype);
        Ok(folder.write(CONFIG, |file| file.write_all(config.as_bytes()))?)
    }
}

/// Writes a file of tensors, one after another.
pub(super) fn write_tensors(
    folder: &mut OutFolder,
    file_name: &str,
    tensors: &[(String, Vec<usize>)],
    precision: SavedPrecision,
    numbers: &mut dyn FnMut(&str) -> Result<Vec<f32>>,
) -> Result<()> {
    let dtype = match precision {
        SavedPrecision::F32 => Dtype::F32,
        SavedPrecision::Bf16 => Dtype::BF16,
    };
    let entry = |(name, shape): &(String, Vec<usize>)| TensorEntry { name: name.clone(), dtype, shape: shape.clone() };
    let layout = TensorLayout::new(tensors.iter().map(entry).collect());
    let mut other_failure = None;
    let written = folder.write(file_name, |file| {
        layout.write(file, |writer| {
            for (index, (name, _)) in tensors.iter().enumerate() {
                let numbers = numbers(name).map_err(|error| {
                    other_failure = Some(error);
                    io::Error::other("the numbers could not be had")
                })?;
                writer.put(index, &bytes(&numbers, precision))?;
            }
            Ok(())
        })
    });
    match other_failure {
        Some(error) => Err(error),
        None => Ok(written?),
    }
}

fn bytes(numbers: &[f32], precision: SavedPrecision) -> Vec<u8> {
    match precision {
        SavedPrecision::F32 => words(numbers, |number| number.to_le_bytes()),
        SavedPrecision::Bf16 => words(numbers, |number| bf16_bits(number).to_le_bytes()),
    }
}

/// Writes word by word in place: collecting bytes one by one takes many times as long.
fn words<const BYTES: usize>(numbers: &[f32], word: impl Fn(f32) -> [u8; BYTES]) -> Vec<u8> {
    let mut bytes = vec![0; numbers.len() * BYTES];
    bytes.as_chunks_mut::<BYTES>().0.iter_mut().zip(numbers).for_each(|(bytes, &number)| *bytes = word(number));
    bytes
}
