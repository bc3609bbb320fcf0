//! Checksums of files as the hub announces them: SHA-256 of large files, and git's SHA-1 of small ones.

use std::fmt::Write;

use sha1::Sha1;
use sha2::{Digest, Sha256};

/// The checksum of a file in the making.
pub enum Checksum {
    /// SHA-256 of the contents.
    Sha256(Sha256),
    /// SHA-1 of the contents behind git's header.
    Git(Sha1),
    /// An announced tag that is no checksum.
    None,
}

impl Checksum {
    /// A checksum of the kind that `tag` is, for a file of `size` bytes.
    pub fn like(tag: &str, size: u64) -> Self {
        let is_hex = tag.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        match tag.len() {
            64 if is_hex => Self::Sha256(Sha256::new()),
            40 if is_hex => Self::Git(Sha1::new().chain_update(format!("blob {size}\0"))),
            _ => Self::None,
        }
    }

    /// Adds the next bytes.
    pub fn add(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(digest) => digest.update(bytes),
            Self::Git(digest) => digest.update(bytes),
            Self::None => {}
        }
    }

    /// The checksum of all bytes; none where the tag is none.
    pub fn finish(self) -> Option<String> {
        match self {
            Self::Sha256(digest) => Some(hex(&digest.finalize())),
            Self::Git(digest) => Some(hex(&digest.finalize())),
            Self::None => None,
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes any text");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checksum(tag: &str, contents: &[u8]) -> Option<String> {
        let mut checksum = Checksum::like(tag, contents.len() as u64);
        contents.chunks(2).for_each(|part| checksum.add(part));
        checksum.finish()
    }

    #[test]
    fn the_checksum_is_of_the_kind_of_the_tag() {
        // As `sha256sum` and `git hash-object` print them.
        let sha256 = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
        let git = "b6fc4c620b67d95f953a5c1c1230aaab5db5a1b0";
        assert_eq!(checksum(sha256, b"hello").as_deref(), Some(sha256));
        assert_eq!(checksum(git, b"hello").as_deref(), Some(git));
        assert_eq!(checksum("1234-abcd", b"hello"), None);
    }
}
