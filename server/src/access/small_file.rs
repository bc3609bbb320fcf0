//! Reads files of keys and certificates, which are small: what is longer, or never ends, is none.
//!
//! Used by `key_ring`, `certificate` and `file_watch`.

use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;

use super::error::AccessError;

/// Bytes of a file, at most: about ten thousand keys, all of which are compared for each request. A chain of
/// certificates has a few kilobytes.
const FILE_BYTES: u64 = 1 << 20;

/// The contents of a file.
///
/// # Errors
/// When it cannot be read, is no regular file, or is too long.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, AccessError> {
    let unreadable = |source| AccessError::Unreadable { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    // Nobody waits for the writer of a FIFO.
    let waiting_for_none = OFlags::NONBLOCK.bits() as i32;
    let file = OpenOptions::new().read(true).custom_flags(waiting_for_none).open(path).map_err(unreadable)?;
    if !file.metadata().map_err(unreadable)?.is_file() {
        return Err(AccessError::NoFile { path: path.to_owned() });
    }
    file.take(FILE_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > FILE_BYTES {
        return Err(AccessError::TooLarge { path: path.to_owned(), limit: FILE_BYTES });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_file_or_too_long_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (fifo, large) = (folder.path().join("fifo"), folder.path().join("large"));
        rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RWXU).unwrap();
        for path in [fifo.as_path(), folder.path(), Path::new("/dev/zero"), Path::new("/dev/null")] {
            assert!(matches!(read(path), Err(AccessError::NoFile { .. })), "{}", path.display());
        }
        assert!(matches!(read(Path::new("/nowhere/keys")), Err(AccessError::Unreadable { .. })));
        for (bytes, is_allowed) in [(FILE_BYTES, true), (FILE_BYTES + 1, false)] {
            std::fs::write(&large, vec![b'x'; bytes as usize]).unwrap();
            assert_eq!(read(&large).is_ok(), is_allowed);
        }
    }
}
