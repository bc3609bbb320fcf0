//! Files that a user names: texts are read without their byte-order mark, and only regular files are opened.
//!
//! Called wherever JSON, JSONL or TOML is read, here and in the server. The contents of a file are the caller's.

use std::fs::{self, File, FileType};
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

/// The byte-order mark of UTF-8, which some editors put before a text.
const MARK: &[u8] = b"\xEF\xBB\xBF";

/// Strips the byte-order mark before a text.
pub fn without_mark(text: &[u8]) -> &[u8] {
    text.strip_prefix(MARK).unwrap_or(text)
}

/// Reads a text from a regular file, without its byte-order mark.
///
/// # Errors
/// When the file is no regular file, or cannot be opened or read.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut contents = Vec::new();
    io::Read::read_to_end(&mut open(path)?, &mut contents)?;
    Ok(strip_mark(contents))
}

/// Reads a text from a regular file or from a FIFO, such as a shell's `<(command)`, without a byte-order mark.
///
/// # Errors
/// When the file cannot be read or is not UTF-8.
pub fn read_settings(path: &Path) -> io::Result<String> {
    let contents = strip_mark(fs::read(path)?);
    String::from_utf8(contents).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.utf8_error()))
}

/// Opens a regular file. The kind is checked first: opening a FIFO would wait until somebody writes to it.
///
/// # Errors
/// When the file is of another kind, or the system refuses.
pub fn open(path: &Path) -> io::Result<File> {
    expect_regular(fs::metadata(path)?.file_type())?;
    File::open(path)
}

/// Refuses every kind of file but a regular one.
pub(crate) fn expect_regular(kind: FileType) -> io::Result<()> {
    if kind.is_file() {
        return Ok(());
    }
    let kind = kind_name(kind);
    Err(io::Error::new(io::ErrorKind::InvalidInput, format!("it is {kind}; it has to be a regular file")))
}

/// Refuses every kind of file but a folder.
pub(crate) fn expect_folder(kind: FileType) -> io::Result<()> {
    if kind.is_dir() {
        return Ok(());
    }
    let kind = kind_name(kind);
    Err(io::Error::new(io::ErrorKind::NotADirectory, format!("it is {kind}; it has to be a folder")))
}

/// Strips the byte-order mark before the contents of a file.
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
