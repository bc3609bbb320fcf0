//! Checks the folder to write to, and the free space of its file system.
//!
//! Called by `adaptation` before anything is written: a copy of many gigabytes should not fail at its end.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use crate::checkpoint::writer::OutFolder;
use crate::error::Error;

/// Reasons for which the folder cannot be written to, as far as they show without writing.
pub(super) fn problems(out: &Path) -> Vec<String> {
    let unusable = match fs::metadata(out) {
        Ok(found) if !found.is_dir() => Some(Error::WrongKind { path: out.to_owned(), expected: "a folder" }),
        Ok(_) => match OutFolder::is_free(out) {
            Ok(is_free) => (!is_free).then(|| Error::NotEmpty { folder: out.to_owned() }),
            Err(error) => Some(error),
        },
        Err(source) if source.kind() == ErrorKind::NotFound => None,
        Err(source) => Some(Error::File { action: "open", path: out.to_owned(), source }),
    };
    unusable.into_iter().map(|error| error.to_string()).collect()
}

/// A reason when the file system has less room than `needed_bytes`; none when it does not tell its free space.
pub(super) fn shortage(out: &Path, needed_bytes: u64) -> Option<String> {
    let there = std::path::absolute(out).ok()?;
    let existing = there.ancestors().find(|path| path.exists())?;
    let system = rustix::fs::statvfs(existing).ok()?;
    let free_bytes = system.f_bavail.saturating_mul(system.f_frsize);
    let reason = || format!("{} needs {needed_bytes} bytes, {free_bytes} are free there", out.display());
    (free_bytes < needed_bytes).then(reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_the_file_system_has_is_refused_before_it_is_tried() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("not/there/yet");
        assert_eq!(shortage(&out, 1), None);
        let reason = shortage(&out, u64::MAX).unwrap();
        assert!(reason.contains("not/there/yet needs 18446744073709551615 bytes"), "{reason}");
        assert!(!folder.path().join("not").exists());
    }
}
