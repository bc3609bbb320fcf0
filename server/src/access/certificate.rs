//! The certificate by which the server proves who it is, and the TLS settings that go with it.
//!
//! Read at the start and by `reload`; each new connection takes the present one.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::error::AccessError;
use super::small_file;

/// The only protocol that is spoken inside.
const PROTOCOL: &[u8] = b"http/1.1";

/// Files in PEM form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The server's certificate, followed by those that lead to a root.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// The certificate that new connections get. Clones are the same one.
#[derive(Debug, Clone)]
pub struct Certificate(Arc<RwLock<Arc<ServerConfig>>>);

impl CertificateFiles {
    /// Reads both files: TLS 1.2 and 1.3 with the library's ciphers.
    ///
    /// # Errors
    /// When a file cannot be read or is not PEM, or when the key is not the certificate's.
    fn read(&self) -> Result<Arc<ServerConfig>, AccessError> {
        let Self { certificate, key } = self;
        let (chain, private) = (small_file::read(certificate)?, small_file::read(key)?);
        let not_pem = |path: &Path, wanted| {
            let path = path.to_owned();
            move |source| AccessError::NotPem { path, wanted, source }
        };
        let chain: Vec<_> = CertificateDer::pem_slice_iter(&chain)
            .collect::<Result<_, _>>()
            .map_err(not_pem(certificate, "certificate"))?;
        let private = PrivateKeyDer::from_pem_slice(&private).map_err(not_pem(key, "private key"))?;
        let unusable = |source| AccessError::Unusable { certificate: certificate.clone(), key: key.clone(), source };
        let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(unusable)?
            .with_no_client_auth()
            .with_single_cert(chain, private)
            .map_err(unusable)?;
        config.alpn_protocols = vec![PROTOCOL.to_vec()];
        Ok(Arc::new(config))
    }
}

impl Certificate {
    /// Reads it.
    ///
    /// # Errors
    /// When the files do not make a usable certificate.
    pub fn read(files: &CertificateFiles) -> Result<Self, AccessError> {
        Ok(Self(Arc::new(RwLock::new(files.read()?))))
    }

    /// Reads it anew, for connections to come. On an error the one before stays.
    ///
    /// # Errors
    /// When the files do not make a usable certificate.
    pub fn read_anew(&self, files: &CertificateFiles) -> Result<(), AccessError> {
        let config = files.read()?;
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = config;
        Ok(())
    }

    /// Begins TLS on new connections, with the present certificate.
    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner)))
    }
}
