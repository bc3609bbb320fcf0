//! The folder in which files and batches are kept: one file of contents and one of the record for each file, one of the
//! record and one of results for each batch.

use std::collections::HashSet;
use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use model::OutFile;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Contents of a file.
const CONTENTS: &str = "jsonl";
/// A record.
const RECORD: &str = "json";
/// A file that is being uploaded.
const UPLOAD: &str = "part";

/// The folder. No other process uses it while this exists.
#[derive(Debug)]
pub struct Folder {
    root: PathBuf,
    _lock: File,
}

/// Kind of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A file.
    File,
    /// A batch.
    Batch,
}

impl Folder {
    /// Takes the folder, which is made if it is not there, and removes what an earlier process did not finish: uploads
    /// and contents without a record.
    pub fn open(root: &Path) -> io::Result<Self> {
        for kind in [Kind::File, Kind::Batch] {
            fs::create_dir_all(root.join(kind.folder()))?;
        }
        let lock = File::options().write(true).create(true).truncate(false).open(root.join("lock"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(io::Error::other("another process uses it: give each server a folder of its own"));
            }
            Err(TryLockError::Error(error)) => return Err(error),
        }
        let folder = Self { root: root.to_owned(), _lock: lock };
        folder.tidy()?;
        Ok(folder)
    }

    fn tidy(&self) -> io::Result<()> {
        for kind in [Kind::File, Kind::Batch] {
            let paths: Vec<_> = fs::read_dir(self.root.join(kind.folder()))?
                .map(|entry| entry.map(|entry| entry.path()))
                .collect::<io::Result<_>>()?;
            let has = |path: &Path, extension: &str| path.extension().is_some_and(|found| found == extension);
            let recorded: HashSet<_> = paths.iter().filter(|path| has(path, RECORD)).map(PathBuf::as_path).collect();
            let is_left = |path: &Path| match path.extension() {
                Some(extension) if extension == UPLOAD || extension == "partial" => true,
                Some(extension) if extension == CONTENTS => !recorded.contains(path.with_extension(RECORD).as_path()),
                _ => false,
            };
            paths.iter().filter(|path| is_left(path)).try_for_each(|path| remove(path))?;
        }
        Ok(())
    }

    /// Contents of a file.
    pub fn contents(&self, id: &str) -> PathBuf {
        self.path(Kind::File, id, CONTENTS)
    }

    /// Contents of a file that is being uploaded.
    pub fn upload(&self, id: &str) -> PathBuf {
        self.path(Kind::File, id, UPLOAD)
    }

    /// Results of a batch that is being run.
    pub fn results(&self, id: &str) -> PathBuf {
        self.path(Kind::Batch, id, CONTENTS)
    }

    /// Keeps a record. The disk has it when this returns.
    pub fn write<T: Serialize>(&self, kind: Kind, id: &str, record: &T) -> io::Result<()> {
        OutFile::replace(&self.path(kind, id, RECORD), &serde_json::to_vec(record)?)?;
        self.sync(kind)
    }

    /// Puts the contents of an uploaded file in their place. The disk has them when this returns.
    pub fn place_upload(&self, id: &str, mut file: &File) -> io::Result<()> {
        file.flush()?;
        file.sync_all()?;
        fs::rename(self.upload(id), self.contents(id))
    }

    /// Removes a record and what belongs to it.
    pub fn remove(&self, kind: Kind, id: &str) -> io::Result<()> {
        remove(&self.path(kind, id, RECORD))?;
        remove(&self.path(kind, id, CONTENTS))
    }

    /// All records of a kind.
    pub fn read<T: DeserializeOwned>(&self, kind: Kind) -> io::Result<Vec<T>> {
        let mut records = Vec::new();
        for entry in fs::read_dir(self.root.join(kind.folder()))? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == RECORD) {
                let named = |error| io::Error::new(ErrorKind::InvalidData, format!("{}: {error}", path.display()));
                records.push(serde_json::from_slice(&fs::read(&path)?).map_err(named)?);
            }
        }
        Ok(records)
    }

    /// Waits until the disk has the names of the files of a kind.
    fn sync(&self, kind: Kind) -> io::Result<()> {
        File::open(self.root.join(kind.folder()))?.sync_all()
    }

    fn path(&self, kind: Kind, id: &str, extension: &str) -> PathBuf {
        self.root.join(kind.folder()).join(format!("{id}.{extension}"))
    }
}

impl Kind {
    const fn folder(self) -> &'static str {
        match self {
            Self::File => "files",
            Self::Batch => "batches",
        }
    }
}

/// Removes a file that may be gone already.
pub fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
