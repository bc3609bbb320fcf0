//! Keys and certificate together: read at the start, and again when the process is told that files have changed.
//!
//! Made by the `serve` command.

use super::certificate::{Certificate, CertificateFiles};
use super::error::AccessError;
use super::key_ring::{KeySources, Keys};

/// Where keys and certificate come from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CredentialFiles {
    /// Where keys come from.
    pub keys: KeySources,
    /// The certificate's files, if there is one.
    pub certificate: Option<CertificateFiles>,
}

/// The present keys and certificate. Clones are the same ones.
#[derive(Debug, Clone, Default)]
pub struct Credentials {
    /// Keys that may ask.
    pub keys: Keys,
    /// The certificate, of a server that speaks TLS.
    pub certificate: Option<Certificate>,
}

impl CredentialFiles {
    /// Whether there are keys or a certificate.
    pub fn any(&self) -> bool {
        self.keys.any() || self.certificate.is_some()
    }

    /// Reads everything.
    ///
    /// # Errors
    /// When keys or certificate cannot be used.
    pub fn read(&self) -> Result<Credentials, AccessError> {
        let keys = if self.keys.any() { Keys::of(self.keys.read()?) } else { Keys::default() };
        let certificate = self.certificate.as_ref().map(Certificate::read).transpose()?;
        Ok(Credentials { keys, certificate })
    }

    /// Reads everything again into `credentials`. Keys and certificate change apart: what cannot be used stays as it
    /// was, which the log says. Returns whether all of it can be used.
    pub fn read_anew(&self, credentials: &Credentials) -> bool {
        let mut all = true;
        if self.keys.file.is_some() {
            match self.keys.read() {
                Ok(ring) => {
                    tracing::info!(keys = ring.names().count(), "keys were read anew");
                    credentials.keys.replace(ring);
                }
                Err(error) => {
                    report(&error, "the keys of before stay valid");
                    all = false;
                }
            }
        } else if self.keys.any() {
            tracing::warn!(
                "keys in access.keys and ENCDEC_API_KEYS stay those of the start: put them into access.keys_file to \
                 change them while the server runs"
            );
        }
        if let (Some(files), Some(certificate)) = (&self.certificate, &credentials.certificate) {
            match certificate.read_anew(files) {
                Ok(()) => tracing::info!("the certificate was read anew"),
                Err(error) => {
                    report(&error, "the certificate of before stays valid");
                    all = false;
                }
            }
        }
        all
    }
}

fn report(error: &AccessError, what_holds: &str) {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
    tracing::error!("{what_holds}: {error}{cause}");
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::super::api_key::{KeyName, NewKey};
    use super::*;

    fn fixture(name: &str) -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tls").join(name)
    }

    #[test]
    fn a_bad_file_leaves_the_keys_of_before() {
        let [old, new] = ["old", "new"].map(|name| NewKey::make(&KeyName::new(name).unwrap()));
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("keys");
        std::fs::write(&file, &old.line).unwrap();
        let keys = KeySources { file: Some(file.clone()), ..KeySources::default() };
        let files = CredentialFiles { keys, certificate: None };
        let credentials = files.read().unwrap();
        let knows = |key: &NewKey| credentials.keys.present().unwrap().find(&key.secret).is_some();
        for bad in ["", "old", &format!("{0}\n{0}", new.line)] {
            std::fs::write(&file, bad).unwrap();
            assert!(!files.read_anew(&credentials));
            assert!(knows(&old) && !knows(&new), "{bad}");
        }
        std::fs::write(&file, &new.line).unwrap();
        assert!(files.read_anew(&credentials));
        assert!(!knows(&old) && knows(&new));
    }

    #[test]
    fn a_certificate_needs_its_own_key() {
        let files = |certificate, key| {
            let certificate = Some(CertificateFiles { certificate: fixture(certificate), key: fixture(key) });
            CredentialFiles { certificate, ..CredentialFiles::default() }
        };
        assert!(files("one.crt", "one.key").read().unwrap().certificate.is_some());
        assert!(matches!(files("one.crt", "two.key").read(), Err(AccessError::Unusable { .. })));
        assert!(matches!(files("one.crt", "one.crt").read(), Err(AccessError::NotPem { wanted: "private key", .. })));
        assert!(matches!(files("one.key", "one.key").read(), Err(AccessError::Unusable { .. })));
        assert!(matches!(files("none.crt", "one.key").read(), Err(AccessError::Unreadable { .. })));
    }
}
