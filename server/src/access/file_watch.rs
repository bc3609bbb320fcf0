//! Notices that files of keys and certificate have changed, by their contents.
//!
//! Used by the `serve` command, which looks now and then. Files in a container may change without anybody who could
//! send a signal.

use sha2::{Digest, Sha256};

use super::reload::CredentialFiles;
use super::small_file;

/// Contents of the files when they were read, and when they were looked at last.
#[derive(Debug)]
pub struct FileWatch {
    files: CredentialFiles,
    read: Contents,
    seen: Contents,
}

/// Checksum of the contents of all files.
type Contents = [u8; 32];

impl FileWatch {
    /// Watches files that have just been read.
    pub fn new(files: CredentialFiles) -> Self {
        let now = contents(&files);
        Self { files, read: now, seen: now }
    }

    /// Looks at the files. Returns whether they are to be read: they hold something else than when they were read last,
    /// and the same as at the last look, so that nobody is still writing them. The answer counts as read.
    pub fn has_changed(&mut self) -> bool {
        let now = contents(&self.files);
        let has_changed = now != self.read && now == self.seen;
        self.seen = now;
        if has_changed {
            self.read = now;
        }
        has_changed
    }
}

fn contents(files: &CredentialFiles) -> Contents {
    let certificate = files.certificate.as_ref();
    let paths = [
        files.keys.file.as_deref(),
        certificate.map(|files| files.certificate.as_path()),
        certificate.map(|files| files.key.as_path()),
    ];
    let mut sum = Sha256::new();
    for path in paths.into_iter().flatten() {
        // A file that cannot be read differs from every one that can.
        match small_file::read(path) {
            Ok(bytes) => sum.update(Sha256::digest(&bytes)),
            Err(_) => sum.update([0]),
        }
    }
    sum.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::super::key_ring::KeySources;
    use super::*;

    #[test]
    fn a_change_is_seen_once_and_not_while_the_file_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("keys");
        let write = |text: &str| std::fs::write(&file, text).unwrap();
        write("one");
        let keys = KeySources { file: Some(file.clone()), ..KeySources::default() };
        let mut watch = FileWatch::new(CredentialFiles { keys, certificate: None });
        assert!(!watch.has_changed());
        write("half of tw");
        assert!(!watch.has_changed(), "it may still be written");
        write("two");
        assert!(!watch.has_changed(), "it was");
        assert!(watch.has_changed());
        assert!(!watch.has_changed(), "it is read");
        std::fs::remove_file(&file).unwrap();
        assert!(!watch.has_changed());
        assert!(watch.has_changed(), "a file that is gone is a change");
        write("two");
        assert!(!watch.has_changed());
        assert!(watch.has_changed(), "and so is one that is back");
    }
}
