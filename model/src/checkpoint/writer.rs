//! A folder that a checkpoint is written to: each file appears under its name only when the disk has all of it, and what
//! was written is taken away again when the whole is not finished, by the next try if not by this one.
//!
//! Called by whoever writes a checkpoint: quantising, adapting, training.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Seek, Write};
use std::path::{Component, Path, PathBuf};

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

/// Name of a file that lists what was begun in a folder, locked by the process that writes there. Where one lies and
/// nobody holds it, its writer was killed.
const JOURNAL: &str = ".unfinished";
/// Ends the name of a file that is being written.
const PARTIAL: &str = ".partial";

/// A folder in the making. Dropped before [`OutFolder::finish`], it removes the files that it wrote; of a process that was
/// killed, the next one to create the folder removes them. So the same command may always be given again.
#[derive(Debug)]
pub(crate) struct OutFolder {
    path: PathBuf,
    written: Vec<PathBuf>,
    journal: File,
}

impl OutFolder {
    /// Makes the folder if there is none; refuses one that has anything in it but what a killed process began.
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

    /// Whether a folder has nothing in it, or nothing but what a killed process began.
    pub fn is_free(path: &Path) -> Result<bool> {
        let left = Unfinished::find(path)?.map_or_else(Vec::new, |left| left.files());
        let mut entries = fs::read_dir(path).map_err(failed("read", path))?;
        Ok(entries.all(|entry| entry.is_ok_and(|entry| left.contains(&entry.path()))))
    }

    fn is_empty(path: &Path) -> std::io::Result<bool> {
        Ok(fs::read_dir(path)?.next().is_none())
    }

    /// Writes a file under another name and gives it its own once the disk has it. An [`Error`] of this crate inside the
    /// one that `contents` ends with is handed on as it is: what could not be read is no fault of what is written.
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
        // The new name, too, has to outlive a power cut before a later file says that this one is there.
        sync_folder(&self.path)
    }

    /// The files that were written.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.written.iter().map(PathBuf::as_path).filter(|path| !path.ends_with(JOURNAL))
    }

    /// Keeps what was written.
    pub fn finish(mut self) {
        // The journal alone stays among what is removed.
        self.written.truncate(1);
    }
}

impl Drop for OutFolder {
    fn drop(&mut self) {
        // The journal, which is the first of them, goes last.
        for path in self.written.iter().rev() {
            // The first error is the one to report.
            let _ = fs::remove_file(path);
        }
    }
}

/// What a killed process left in a folder.
struct Unfinished {
    folder: PathBuf,
    /// Locked while this lives, so that no two processes remove the same files.
    journal: File,
    names: Vec<String>,
}

impl Unfinished {
    /// `None` where nothing was left.
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

    /// The journal goes last: a kill on the way leaves it for the next try.
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
