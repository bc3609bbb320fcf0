//! Who may ask, and how they prove who answers: API keys, and the certificate of TLS. Both can be read anew while the
//! server runs.
//!
//! Filled by the `serve` command, asked by `api` and `client_connection`. It knows no requests.

mod api_key;
mod certificate;
mod error;
mod file_watch;
mod key_ring;
mod reload;
mod small_file;

pub use api_key::{KeyName, NewKey};
pub use certificate::{Certificate, CertificateFiles};
pub use error::AccessError;
pub use file_watch::FileWatch;
pub use key_ring::{KeyRing, KeySources, Keys};
pub use reload::{CredentialFiles, Credentials};
