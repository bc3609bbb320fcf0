//! `checksums`: the hash of every other file of a saved checkpoint, in the form that `xxh128sum -c` reads.
//!
//! Written and verified by `state`, and verified by `run` before the final model is made.

use std::io::Write;
use std::path::Path;

use crate::checkpoint::writer::OutFolder;
use crate::input;
use crate::training::data::hash_of;
use crate::training::error::{Error, Result};

/// Name of the file.
pub(super) const FILE: &str = "checksums";
/// Hexadecimal digits of a hash.
const DIGITS: usize = 32;
/// Separator between a hash and its file's name.
const GAP: &str = "  ";

/// Writes the hashes of all files that are in a folder so far.
pub(super) fn write(folder: &mut OutFolder) -> Result<()> {
    let mut text = String::new();
    for path in folder.files() {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        text.push_str(&format!("{:0DIGITS$x}{GAP}{name}\n", hash_of(path)?));
    }
    Ok(folder.write(FILE, |file| file.write_all(text.as_bytes()))?)
}

/// Refuses a checkpoint in which a file has changed, naming the file.
pub fn verify(checkpoint: &Path) -> Result<()> {
    let path = checkpoint.join(FILE);
    let damaged = |path: &Path, problem: &str| Error::Damaged { path: path.to_owned(), problem: problem.to_owned() };
    let text = input::read(&path).map_err(|source| Error::File { action: "read", path: path.clone(), source })?;
    let text = String::from_utf8(text).map_err(|_| damaged(&path, "it is not UTF-8"))?;
    for line in text.lines() {
        let entry = line.split_once(GAP).filter(|(hash, name)| hash.len() == DIGITS && !name.contains('/'));
        let (hash, name) = entry.ok_or_else(|| damaged(&path, "a line is no hash with the name of a file"))?;
        let named = checkpoint.join(name);
        if format!("{:0DIGITS$x}", hash_of(&named)?) != hash {
            return Err(damaged(&named, "its checksum is not the one that was written with it"));
        }
    }
    Ok(())
}
