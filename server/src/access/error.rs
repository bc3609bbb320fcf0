//! Why keys or a certificate cannot be used.
//!
//! At the start it ends the process; later it is logged, and what was there before stays valid.

use std::path::PathBuf;

use super::api_key::KeyName;

/// Why keys or a certificate cannot be used. Messages show nothing of a file's content.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A path leads to something else than a file.
    #[error("{} is no regular file: keys and certificates are read from files only", path.display())]
    NoFile {
        /// The path.
        path: PathBuf,
    },
    /// A file is larger than any such file.
    #[error("{} has more than {limit} bytes, which no such file has", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit.
        limit: u64,
    },
    /// A line is no key.
    #[error(
        "line {line} of {origin} is no key: give NAME:HASH as `server key NAME` prints it, with a name of 1 to 64 \
         letters, digits, '.', '_' and '-'"
    )]
    NoKey {
        /// The place.
        origin: String,
        /// The line, from 1.
        line: usize,
    },
    /// A name is given to two keys.
    #[error("two keys are named `{name}`, the second one in {origin}: give each a name of its own")]
    NameTaken {
        /// The place of the second one.
        origin: String,
        /// The name.
        name: KeyName,
    },
    /// Two names are given to one secret.
    #[error(
        "the key `{name}` in {origin} has the secret of `{other}`: remove one of them, or make it a key of its own"
    )]
    SecretTaken {
        /// The place of the second one.
        origin: String,
        /// Name of the second one.
        name: KeyName,
        /// Name of the first one.
        other: KeyName,
    },
    /// A place for keys is given and holds none.
    #[error(
        "{origin} holds no key, and without any nobody could ask: add one that `server key NAME` prints, or remove it"
    )]
    NoKeys {
        /// The place.
        origin: String,
    },
    /// A file is not in PEM form, or lacks what it should hold.
    #[error("{} holds no {wanted} in PEM form", path.display())]
    NotPem {
        /// The file.
        path: PathBuf,
        /// Its missing content.
        wanted: &'static str,
        /// The parser's answer.
        source: tokio_rustls::rustls::pki_types::pem::Error,
    },
    /// Certificate and key do not make a server.
    #[error("the certificate {} cannot be used with the key {}", certificate.display(), key.display())]
    Unusable {
        /// File of the certificate.
        certificate: PathBuf,
        /// File of the private key.
        key: PathBuf,
        /// The library's answer.
        source: tokio_rustls::rustls::Error,
    },
}
