//! An API key: its name, its secret, and the hash that is all the server keeps of the secret.
//!
//! Used by `key_ring` and by the command that makes keys.

use std::fmt;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// Beginning of every secret, by which scanners of repositories and logs recognise a key that was lost there.
const SECRET_PREFIX: &str = "sk-encdec-";
/// Random bytes of a secret.
const SECRET_BYTES: usize = 32;
/// Most characters of a name, which is a label of metrics and stands in each line of the access log.
const NAME_CHARACTERS: usize = 64;

/// The name of a key: what logs and metrics say of a caller.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct KeyName(Arc<str>);

/// The SHA-256 hash of a key's secret. A plain hash is enough: a secret has 256 random bits, so nobody who has the hash
/// can find the secret by trying, which is what slow hashes of passwords guard against.
#[derive(Clone, Copy)]
pub struct KeyHash([u8; 32]);

/// A key that was just made. Its secret is printed once and kept nowhere.
pub struct NewKey {
    /// The value that clients send.
    pub secret: String,
    /// The line for `access.keys_file`.
    pub line: String,
}

impl KeyName {
    /// A name of 1 to 64 letters, digits, `.`, `_` and `-`; `None` for any other text.
    pub fn new(name: &str) -> Option<Self> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let is_name = (1..=NAME_CHARACTERS).contains(&name.len()) && name.bytes().all(allowed);
        is_name.then(|| Self(name.into()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl KeyHash {
    /// The hash of a secret.
    pub fn of(secret: &str) -> Self {
        Self(Sha256::digest(secret.as_bytes()).into())
    }

    /// A hash of 64 hexadecimal digits; `None` for any other text.
    pub fn parse(text: &str) -> Option<Self> {
        let is_hexadecimal = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let digit = |index: usize| u8::from_str_radix(text.get(2 * index..2 * index + 2)?, 16).ok();
        let mut bytes = [0; 32];
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = digit(index).filter(|_| is_hexadecimal)?;
        }
        Some(Self(bytes))
    }

    /// Whether both are equal, found out in a time that does not depend on where they differ.
    pub fn equals(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Display for KeyHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl NewKey {
    /// A key that nobody has yet.
    pub fn make(name: &KeyName) -> Self {
        let mut random = [0; SECRET_BYTES];
        getrandom::fill(&mut random).expect("the system has a source of randomness");
        let digits: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        let secret = format!("{SECRET_PREFIX}{digits}");
        let line = format!("{name}:{}", KeyHash::of(&secret));
        Self { secret, line }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_fit_for_labels_and_logs() {
        for name in ["a", "team-1_x.y", &"x".repeat(64)] {
            assert_eq!(KeyName::new(name).unwrap().as_str(), name);
        }
        for name in ["", "two words", "é", "a:b", "#a", "\"", &"x".repeat(65)] {
            assert_eq!(KeyName::new(name), None, "{name}");
        }
    }

    #[test]
    fn a_hash_is_written_as_sha256sum_writes_it() {
        let known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(KeyHash::of("abc").to_string(), known);
        assert!(KeyHash::parse(known).unwrap().equals(&KeyHash::of("abc")));
        assert!(!KeyHash::parse(known).unwrap().equals(&KeyHash::of("abd")));
        for text in ["", "abc", &known[1..], &format!("{known}0"), &known.replace('b', "+"), &"é".repeat(32)] {
            assert!(KeyHash::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn no_two_keys_have_the_same_secret() {
        let name = KeyName::new("a").unwrap();
        let (one, two) = (NewKey::make(&name), NewKey::make(&name));
        assert_ne!(one.secret, two.secret);
        assert_eq!(one.secret.len(), SECRET_PREFIX.len() + 64);
        assert!(!one.line.contains(&one.secret[SECRET_PREFIX.len()..]));
    }
}
