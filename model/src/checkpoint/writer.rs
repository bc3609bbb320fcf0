//! A folder that a checkpoint is written to: each file appears under its name only when the disk has all of it, and what
//! was written is taken away again when the whole is not finished.
//!
//! Called by whoever writes a checkpoint: quantising, adapting, training.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::folder::{GENERATION_CONFIG, TOKENIZER};
use crate::error::{Error, Result};

/// Files beside the tensors that a checkpoint may have and its copy needs as well.
pub(crate) const COPIED: [&str; 8] = [
    GENERATION_CONFIG,
    TOKENIZER,
    "tokenizer_config.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
];

/// A folder in the making. Dropped before [`OutFolder::finish`], it removes the files that it wrote, so that the same
/// command may be given again.
#[derive(Debug)]
pub(crate) struct OutFolder {
    path: PathBuf,
    written: Vec<PathBuf>,
}

impl OutFolder {
    /// Makes the folder if there is none; refuses one that has anything in it.
    pub fn create(path: &Path) -> Result<Self> {
        fs::create_dir_all(path).map_err(failed("create", path))?;
        if fs::read_dir(path).map_err(failed("read", path))?.next().is_some() {
            return Err(Error::NotEmpty { folder: path.to_owned() });
        }
        Ok(Self { path: path.to_owned(), written: Vec::new() })
    }

    /// Writes a file under another name and gives it its own once the disk has it.
    pub fn write(&mut self, name: &str, contents: impl FnOnce(&mut File) -> std::io::Result<()>) -> Result<()> {
        let (path, partial) = (self.path.join(name), self.path.join(format!("{name}.partial")));
        let mut file = File::create_new(&partial).map_err(failed("write", &partial))?;
        self.written.push(partial.clone());
        contents(&mut file).and_then(|()| file.sync_all()).map_err(failed("write", &partial))?;
        fs::rename(&partial, &path).map_err(failed("write", &path))?;
        self.written.pop();
        self.written.push(path);
        // The new name, too, has to outlive a power cut before a later file says that this one is there.
        sync_folder(&self.path)
    }

    /// Keeps what was written.
    pub fn finish(mut self) {
        self.written.clear();
    }
}

impl Drop for OutFolder {
    fn drop(&mut self) {
        for path in &self.written {
            // The first error is the one to report.
            let _ = fs::remove_file(path);
        }
    }
}

/// Waits until the disk has the names of a folder's files.
pub(crate) fn sync_folder(path: &Path) -> Result<()> {
    File::open(path).and_then(|folder| folder.sync_all()).map_err(failed("write", path))
}

fn failed(action: &'static str, path: &Path) -> impl Fn(std::io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::File { action, path: path.clone(), source }
}
