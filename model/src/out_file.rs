//! A file in the making: it gets its name once it is complete.
//!
//! Called wherever a single file is written, here and in the server. `checkpoint::writer` writes folders.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};

use crate::input::{expect_folder, expect_regular};

/// A file that is written as `NAME.partial` beside the name it will get. Dropped before [`OutFile::finish`], it is
/// removed.
#[derive(Debug)]
pub struct OutFile {
    file: BufWriter<File>,
    partial: PathBuf,
    place: PathBuf,
}

impl OutFile {
    /// Begins a file that is to be named `path`. A link stays a link, and the file that it leads to is replaced.
    ///
    /// # Errors
    /// When the name is taken by anything but a regular file that can be written (a FIFO, a device, a folder, a link
    /// that leads nowhere), when another process writes the same file, or when the system refuses.
    pub fn create(path: &Path) -> io::Result<Self> {
        let place = place_of(path)?;
        let partial = beside(&place)?;
        // A file that a killed process left is overwritten; a link of that name is not followed.
        let mut options = OpenOptions::new();
        match kind_of(&partial)? {
            Some(kind) => {
                expect_regular(kind).map_err(|error| named(&partial, error))?;
                options.write(true)
            }
            None => options.write(true).create_new(true),
        };
        let file = options.open(&partial)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(io::Error::other("another process is writing it")),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        file.set_len(0)?;
        if let Ok(metadata) = fs::metadata(&place) {
            fs::set_permissions(&partial, metadata.permissions())?;
        }
        Ok(Self { file: BufWriter::new(file), partial, place })
    }

    /// Writes a whole file.
    ///
    /// # Errors
    /// When the file cannot be begun (see [`OutFile::create`]) or written. A file that had the name is then unchanged.
    pub fn replace(path: &Path, contents: &[u8]) -> io::Result<()> {
        let mut file = Self::create(path)?;
        file.write_all(contents)?;
        file.finish()
    }

    /// Gives the file its name once the disk has it.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn finish(mut self) -> io::Result<()> {
        self.file.flush()?;
        self.file.get_ref().sync_all()?;
        fs::rename(&self.partial, &self.place)
    }
}

impl Write for OutFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for OutFile {
    fn drop(&mut self) {
        // A finished file has its name by now. One that was not finished could be mistaken for a result.
        let _ = fs::remove_file(&self.partial);
    }
}

/// Opens a file that only serves as a lock, and makes it when it is absent.
pub(crate) fn open_lock(path: &Path) -> io::Result<File> {
    if let Ok(metadata) = fs::metadata(path) {
        expect_regular(metadata.file_type())?;
    }
    OpenOptions::new().write(true).create(true).truncate(false).open(path)
}

/// Makes a folder if there is none. Refuses anything else of that name.
pub(crate) fn make_folder(path: &Path) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(metadata) => expect_folder(metadata.file_type()),
        Err(_) => fs::create_dir_all(path),
    }
}

/// Path where a file of this name lies or will lie. Refuses a name that something else has, and a file that may not be
/// written.
fn place_of(path: &Path) -> io::Result<PathBuf> {
    match fs::metadata(path) {
        Ok(metadata) => {
            expect_regular(metadata.file_type())?;
            OpenOptions::new().append(true).open(path)?;
            path.canonicalize()
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            kind_of(path)?.map_or(Ok(()), expect_regular)?;
            Ok(path.to_owned())
        }
        Err(error) => Err(error),
    }
}

/// Kind of the file that has this name; links are not followed.
fn kind_of(path: &Path) -> io::Result<Option<fs::FileType>> {
    match fs::symlink_metadata(path) {
        Ok(metadata) => Ok(Some(metadata.file_type())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn beside(place: &Path) -> io::Result<PathBuf> {
    let name = place.file_name().ok_or_else(|| io::Error::new(ErrorKind::InvalidInput, "it is a folder"))?;
    let mut name = name.to_owned();
    name.push(".partial");
    Ok(place.with_file_name(name))
}

fn named(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_replaced_as_a_whole_with_its_permissions_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("figures");
        OutFile::replace(&path, b"old").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let mut half = OutFile::create(&path).unwrap();
        half.write_all(b"half").unwrap();
        assert_eq!(names(folder.path()), ["figures", "figures.partial"]);
        let busy = OutFile::create(&path).unwrap_err().to_string();
        assert_eq!(busy, "another process is writing it");
        drop(half);
        assert_eq!((names(folder.path()), fs::read(&path).unwrap()), (vec!["figures".to_owned()], b"old".to_vec()));
        OutFile::replace(&path, b"new").unwrap();
        assert_eq!((names(folder.path()), fs::read(&path).unwrap()), (vec!["figures".to_owned()], b"new".to_vec()));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
    }

    #[test]
    fn what_a_killed_process_left_is_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("figures");
        fs::write(folder.path().join("figures.partial"), "a long half").unwrap();
        OutFile::replace(&path, b"new").unwrap();
        assert_eq!((names(folder.path()), fs::read(&path).unwrap()), (vec!["figures".to_owned()], b"new".to_vec()));
    }

    #[test]
    fn a_link_stays_one_and_so_does_whatever_is_no_regular_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("file"), "old").unwrap();
        symlink("file", path("link")).unwrap();
        symlink("nothing", path("broken")).unwrap();
        fs::create_dir(path("folder")).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, path("fifo"), rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        let before = names(folder.path());
        OutFile::replace(&path("link"), b"new").unwrap();
        assert!(path("link").is_symlink() && fs::read(path("file")).unwrap() == b"new");
        for (name, kind) in [("fifo", "a FIFO"), ("folder", "a folder"), ("broken", "a link that leads nowhere")] {
            let kind_before = fs::symlink_metadata(path(name)).unwrap().file_type();
            let error = OutFile::replace(&path(name), b"new").unwrap_err().to_string();
            assert_eq!(error, format!("it is {kind}; it has to be a regular file"));
            assert_eq!(fs::symlink_metadata(path(name)).unwrap().file_type(), kind_before);
        }
        // Nor is a link that has the name of the file in the making followed.
        symlink("file", path("figures.partial")).unwrap();
        OutFile::replace(&path("figures"), b"new").unwrap_err();
        fs::remove_file(path("figures.partial")).unwrap();
        assert_eq!(names(folder.path()), before);
    }
}
