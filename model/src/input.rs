//! Files that are read as they were given: texts without a byte-order mark, and regular files only.
//!
//! Called by whatever reads JSON, JSONL or TOML, here and in the server. Knows nothing of what a file holds.

use std::fs::{self, File, FileType};
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

/// The byte-order mark of UTF-8, which some editors put before a text.
const MARK: &[u8] = b"\xEF\xBB\xBF";

/// A text without the byte-order mark before it.
pub fn without_mark(text: &[u8]) -> &[u8] {
    text.strip_prefix(MARK).unwrap_or(text)
}

/// The contents of a regular file that holds a text, without a byte-order mark.
///
/// # Errors
/// As [`open`], and when the file cannot be read.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut contents = Vec::new();
    io::Read::read_to_end(&mut open(path)?, &mut contents)?;
    Ok(strip_mark(contents))
}

/// As [`read`], of a file that may be a FIFO as well, as a shell's `<(command)` is.
///
/// # Errors
/// When the file cannot be read or is not UTF-8.
pub fn read_settings(path: &Path) -> io::Result<String> {
    let contents = strip_mark(fs::read(path)?);
    String::from_utf8(contents).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.utf8_error()))
}

/// Opens a regular file. Its kind is asked for first: opening a FIFO waits until somebody writes to it.
///
/// # Errors
/// When it is of another kind, or the system refuses.
pub fn open(path: &Path) -> io::Result<File> {
    expect_regular(fs::metadata(path)?.file_type())?;
    File::open(path)
}

/// A refusal of every kind of file but the regular one.
pub(crate) fn expect_regular(kind: FileType) -> io::Result<()> {
    if kind.is_file() {
        return Ok(());
    }
    let kind = kind_name(kind);
    Err(io::Error::new(io::ErrorKind::InvalidInput, format!("it is {kind}; it has to be a regular file")))
}

/// A refusal of everything but a folder.
pub(crate) fn expect_folder(kind: FileType) -> io::Result<()> {
    if kind.is_dir() {
        return Ok(());
    }
    let kind = kind_name(kind);
    Err(io::Error::new(io::ErrorKind::NotADirectory, format!("it is {kind}; it has to be a folder")))
}

/// A file's contents without the byte-order mark before them.
pub(crate) fn strip_mark(mut contents: Vec<u8>) -> Vec<u8> {
    let mark = contents.len() - without_mark(&contents).len();
    contents.drain(..mark);
    contents
}

fn kind_name(kind: FileType) -> &'static str {
    match kind {
        _ if kind.is_file() => "a regular file",
        _ if kind.is_dir() => "a folder",
        _ if kind.is_symlink() => "a link that leads nowhere",
        _ if kind.is_fifo() => "a FIFO",
        _ if kind.is_char_device() || kind.is_block_device() => "a device",
        _ if kind.is_socket() => "a socket",
        _ => "something else",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_order_mark_is_no_part_of_a_text() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("text");
        for (written, read_back) in
            [("\u{feff}{}", "{}"), ("{}", "{}"), ("\u{feff}", ""), ("", ""), ("{\u{feff}}", "{\u{feff}}")]
        {
            fs::write(&path, written).unwrap();
            assert_eq!(read(&path).unwrap(), read_back.as_bytes());
            assert_eq!(read_settings(&path).unwrap(), read_back);
        }
    }

    #[test]
    fn a_file_that_is_not_regular_is_named_without_waiting_for_it() {
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("fifo");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        for (path, kind) in
            [(fifo.as_path(), "a FIFO"), (folder.path(), "a folder"), (Path::new("/dev/zero"), "a device")]
        {
            let error = open(path).unwrap_err().to_string();
            assert_eq!(error, format!("it is {kind}; it has to be a regular file"));
        }
    }
}
