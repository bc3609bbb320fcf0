//! Reads files of keys and certificates, which are small: what is longer, or never ends, is none.
//!
//! Used by `key_ring`, `certificate` and `file_watch`.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::error::AccessError;

/// Bytes of a file, at most: about ten thousand keys, all of which are compared for each request. A chain of
/// certificates has a few kilobytes.
const FILE_BYTES: u64 = 1 << 20;

/// The contents of a file.
///
/// # Errors
/// When it cannot be read, or is too long.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, AccessError> {
    let unreadable = |source| AccessError::Unreadable { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
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
    fn a_file_that_does_not_end_is_given_up() {
        assert!(matches!(read(Path::new("/dev/zero")), Err(AccessError::TooLarge { .. })));
        assert!(matches!(read(Path::new("/nowhere/keys")), Err(AccessError::Unreadable { .. })));
        assert_eq!(read(Path::new("/dev/null")).unwrap(), b"");
    }
}
