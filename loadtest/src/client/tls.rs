//! TLS by rustls, with the roots of Mozilla and perhaps one's own.

use std::path::Path;
use std::sync::Arc;

use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::error::LoadtestError;

/// A connector that trusts the public roots, and those of `own_roots` as well.
///
/// # Errors
/// A file without a certificate.
pub fn connector(own_roots: Option<&Path>) -> Result<TlsConnector, LoadtestError> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if let Some(path) = own_roots {
        let fault = |fault: String| LoadtestError::Content { path: path.to_owned(), fault };
        let certificates = CertificateDer::pem_file_iter(path).map_err(|error| fault(error.to_string()))?;
        let before = roots.len();
        for certificate in certificates {
            let certificate = certificate.map_err(|error| fault(error.to_string()))?;
            roots.add(certificate).map_err(|error| fault(error.to_string()))?;
        }
        if roots.len() == before {
            return Err(fault("holds no certificate; give a file in PEM".to_owned()));
        }
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider has every default version")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}
