//! The certificates against which that of a hub is checked.
//!
//! Used by `client`.

use std::path::Path;

use ureq::tls::{PemItem, RootCerts, parse_pem};

use super::error::HubError;

/// Mozilla's roots, or those of a file in PEM form.
///
/// # Errors
/// When the file cannot be read, or holds no certificate.
pub fn roots(file: Option<&Path>) -> Result<RootCerts, HubError> {
    let Some(path) = file else { return Ok(RootCerts::WebPki) };
    let unusable = |problem: String| HubError::Certificates { path: path.to_owned(), problem };
    let pem = std::fs::read(path).map_err(|error| unusable(error.to_string()))?;
    let mut certificates = Vec::new();
    for item in parse_pem(&pem) {
        if let PemItem::Certificate(certificate) = item.map_err(|error| unusable(error.to_string()))? {
            certificates.push(certificate);
        }
    }
    if certificates.is_empty() {
        return Err(unusable("it holds none".to_owned()));
    }
    Ok(RootCerts::from(certificates))
}
