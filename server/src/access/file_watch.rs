//! Notices that files of keys and certificate have changed, by their contents.
//!
//! Used by the `serve` command, which looks now and then. Files in a container may change without anybody who could
//! send a signal.

use sha2::{Digest, Sha256};

use super::reload::{CredentialFiles, Credentials};
use super::small_file;

/// Contents of the files as they were before they were read last, and when they were looked at last.
#[derive(Debug)]
pub struct FileWatch {
    files: CredentialFiles,
    read: Contents,
    seen: Contents,
}

/// Checksum of the contents of all files.
type Contents = [u8; 32];

impl FileWatch {
    /// Watches files that are about to be read. What changes while they are read is seen as a change.
    pub fn new(files: CredentialFiles) -> Self {
        let now = contents(&files);
        Self { files, read: now, seen: now }
    }

    /// Reads the files again into `credentials`.
    pub fn read_anew(&mut self, credentials: &Credentials) {
        self.seen = contents(&self.files);
        self.read_seen(credentials);
    }

    /// Looks at the files, and reads them again if they hold something else than when they were read last, and the same
    /// as at the last look, so that nobody is still writing them. Files that cannot be used are read at each look.
    /// Returns whether they were read and can be used.
    pub fn read_if_changed(&mut self, credentials: &Credentials) -> bool {
        let now = contents(&self.files);
        let is_settled = now == self.seen;
        self.seen = now;
        now != self.read && is_settled && self.read_seen(credentials)
    }

    /// Reads files that were looked at just before.
    fn read_seen(&mut self, credentials: &Credentials) -> bool {
        let is_read = self.files.read_anew(credentials);
        if is_read {
            self.read = self.seen;
        }
        is_read
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
    use super::super::api_key::{KeyName, NewKey};
    use super::super::key_ring::KeySources;
    use super::*;

    #[test]
    fn a_change_is_read_once_it_has_settled_and_until_it_can_be_used() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("keys");
        let write = |text: &str| std::fs::write(&file, text).unwrap();
        let [one, two] = ["one", "two"].map(|name| NewKey::make(&KeyName::new(name).unwrap()));
        write(&one.line);
        let keys = KeySources { file: Some(file.clone()), ..KeySources::default() };
        let files = CredentialFiles { keys, certificate: None };
        let mut watch = FileWatch::new(files.clone());
        let credentials = files.read().unwrap();
        let knows = |key: &NewKey| credentials.keys.present().unwrap().find(&key.secret).is_some();
        assert!(!watch.read_if_changed(&credentials));
        write("half of tw");
        assert!(!watch.read_if_changed(&credentials), "it may still be written");
        write(&two.line);
        assert!(!watch.read_if_changed(&credentials), "it was");
        assert!(watch.read_if_changed(&credentials) && knows(&two));
        assert!(!watch.read_if_changed(&credentials), "it is read");
        std::fs::remove_file(&file).unwrap();
        for _ in 0..3 {
            assert!(!watch.read_if_changed(&credentials) && knows(&two), "it cannot be read");
        }
        write(&one.line);
        assert!(!watch.read_if_changed(&credentials));
        assert!(watch.read_if_changed(&credentials) && knows(&one));
        write(&two.line);
        watch.read_anew(&credentials);
        assert!(knows(&two) && !watch.read_if_changed(&credentials), "it was asked for");
    }

    #[test]
    fn what_changes_while_files_are_read_is_read_later() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("keys");
        let [one, two] = ["one", "two"].map(|name| NewKey::make(&KeyName::new(name).unwrap()));
        std::fs::write(&file, &one.line).unwrap();
        let keys = KeySources { file: Some(file.clone()), ..KeySources::default() };
        let files = CredentialFiles { keys, certificate: None };
        let mut watch = FileWatch::new(files.clone());
        let credentials = files.read().unwrap();
        std::fs::write(&file, &two.line).unwrap();
        assert!(!watch.read_if_changed(&credentials));
        assert!(watch.read_if_changed(&credentials));
        assert!(credentials.keys.present().unwrap().find(&two.secret).is_some());
    }
}
