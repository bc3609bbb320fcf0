//! A folder that a checkpoint is written to. A file appears under its name only when the disk has all of it. When the
//! folder is not finished, its files are removed, by this process or by the next one that writes there.
//!
//! Called when a checkpoint is written: by quantising, adapting and training.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Seek, Write};
use std::path::{Component, Path, PathBuf};

use super::folder::{GENERATION_CONFIG, TOKENIZER};
use crate::error::{Error, Result};

/// Files beside the tensors that a copy of a checkpoint needs as well.
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

/// Name of a file that lists the files begun in a folder, locked by the process that writes there. When nobody holds
/// the lock, the writer was killed.
const JOURNAL: &str = ".unfinished";
/// End of the name of a file that is being written.
const PARTIAL: &str = ".partial";

/// A folder in the making. Dropped before [`OutFolder::finish`], it removes the files that it wrote. The files of a
/// process that was killed are removed by the next one that creates the folder, so a command may always be repeated.
#[derive(Debug)]
pub(crate) struct OutFolder {
    path: PathBuf,
    written: Vec<PathBuf>,
    journal: File,
}

impl OutFolder {
    /// Makes the folder if there is none. Refuses a folder with anything in it but files that a killed process began.
    pub fn create(path: &Path) -> Result<Self> {
        match fs::metadata(path) {
            Ok(found) if !found.is_dir() => {
                return Err(Error::WrongKind { path: path.to_owned(), expected: "a folder" });
            }
            Ok(_) => {}
            Err(_) => fs::create_dir_all(path).map_err(failed("create", path))?,
        }
        if let Some(left) = Unfinished::find(path)? {
            left.remove()?;
        }
        if !Self::is_empty(path).map_err(failed("read", path))? {
            return Err(Error::NotEmpty { folder: path.to_owned() });
        }
        let place = path.join(JOURNAL);
        let journal = File::create_new(&place).map_err(failed("write", &place))?;
        lock(path, &journal)?;
        Ok(Self { path: path.to_owned(), written: vec![place], journal })
    }

    /// Whether a folder is empty, but for files that a killed process began.
    pub fn is_free(path: &Path) -> Result<bool> {
        let left = Unfinished::find(path)?.map_or_else(Vec::new, |left| left.files());
        let mut entries = fs::read_dir(path).map_err(failed("read", path))?;
        Ok(entries.all(|entry| entry.is_ok_and(|entry| left.contains(&entry.path()))))
    }

    fn is_empty(path: &Path) -> std::io::Result<bool> {
        Ok(fs::read_dir(path)?.next().is_none())
    }

    /// Writes a file under another name and renames it once the disk has it. An [`Error`] of this crate inside the
    /// error of `contents` is returned as it is: it names the file that could not be read.
    pub fn write(&mut self, name: &str, contents: impl FnOnce(&mut File) -> std::io::Result<()>) -> Result<()> {
        let (path, partial) = (self.path.join(name), self.path.join(format!("{name}{PARTIAL}")));
        let noted = writeln!(self.journal, "{name}").and_then(|()| self.journal.sync_data());
        noted.map_err(failed("write", &self.path.join(JOURNAL)))?;
        let mut file = File::create_new(&partial).map_err(failed("write", &partial))?;
        self.written.push(partial.clone());
        let written = contents(&mut file).and_then(|()| file.sync_all());
        written.map_err(|error| error.downcast().unwrap_or_else(failed("write", &partial)))?;
        fs::rename(&partial, &path).map_err(failed("write", &path))?;
        self.written.pop();
        self.written.push(path);
        // The new name has to outlive a power cut before a later file says that this one is there.
        sync_folder(&self.path)
    }

    /// The files that were written so far.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.written.iter().map(PathBuf::as_path).filter(|path| !path.ends_with(JOURNAL))
    }

    /// Keeps the files that were written.
    pub fn finish(mut self) {
        // Only the journal is still removed.
        self.written.truncate(1);
    }
}

impl Drop for OutFolder {
    fn drop(&mut self) {
        // The journal, which was written first, is removed last.
        for path in self.written.iter().rev() {
            // The error that ended the writing is the one to report.
            let _ = fs::remove_file(path);
        }
    }
}

/// The files that a killed process left in a folder.
struct Unfinished {
    folder: PathBuf,
    /// Locked while this value lives, so that no two processes remove the same files.
    journal: File,
    names: Vec<String>,
}

impl Unfinished {
    /// Finds them; `None` when there are none.
    fn find(folder: &Path) -> Result<Option<Self>> {
        let place = folder.join(JOURNAL);
        let is_file = fs::symlink_metadata(&place).is_ok_and(|found| found.is_file());
        let opened = if is_file { OpenOptions::new().read(true).write(true).open(&place) } else { return Ok(None) };
        let mut journal = match opened {
            Ok(journal) => journal,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(failed("read", &place)(source)),
        };
        lock(folder, &journal)?;
        let mut text = String::new();
        journal.rewind().and_then(|()| journal.read_to_string(&mut text)).map_err(failed("read", &place))?;
        let names = text.lines().filter(|name| is_plain(name)).map(str::to_owned).collect();
        Ok(Some(Self { folder: folder.to_owned(), journal, names }))
    }

    fn files(&self) -> Vec<PathBuf> {
        let begun = self.names.iter().flat_map(|name| [name.clone(), format!("{name}{PARTIAL}")]);
        begun.chain([JOURNAL.to_owned()]).map(|name| self.folder.join(name)).collect()
    }

    /// Removes them, the journal last: after a kill on the way the next process finds it.
    fn remove(self) -> Result<()> {
        for path in self.files() {
            match fs::remove_file(&path) {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                removed => removed.map_err(failed("remove", &path))?,
            }
        }
        drop(self.journal);
        Ok(())
    }
}

fn lock(folder: &Path, journal: &File) -> Result<()> {
    match journal.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(Error::BeingWritten { folder: folder.to_owned() }),
        Err(TryLockError::Error(source)) => Err(failed("lock", &folder.join(JOURNAL))(source)),
    }
}

fn is_plain(name: &str) -> bool {
    let mut components = Path::new(name).components();
    matches!((components.next(), components.next()), (Some(Component::Normal(_)), None))
}

/// Waits until the disk has the names of a folder's files.
pub(crate) fn sync_folder(path: &Path) -> Result<()> {
    File::open(path).and_then(|folder| folder.sync_all()).map_err(failed("write", path))
}

fn failed(action: &'static str, path: &Path) -> impl Fn(std::io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::File { action, path: path.clone(), source }
}
