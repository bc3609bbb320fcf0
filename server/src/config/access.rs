//! The settings under `[access]` and `[tls]`: API keys, who may read metrics, and the certificate.
//!
//! Read by `config`. Files that they name are read by `access`.

use std::path::PathBuf;
use std::time::Duration;

use super::Fault;
use super::environment::Environment;
use super::reader::Reader;
use crate::access::{CertificateFiles, CredentialFiles, KeyName, KeySources};
use crate::overload::Quota;

/// Values of `access.metrics`.
pub const METRICS_ACCESSES: [(&str, MetricsAccess); 3] =
    [("key", MetricsAccess::Key), ("open", MetricsAccess::Open), ("probe_address", MetricsAccess::ProbeAddress)];

/// Who may read `/metrics`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum MetricsAccess {
    /// Everybody who may ask anything else.
    #[default]
    Key,
    /// Everybody.
    Open,
    /// Everybody who reaches `server.probe_address`, and nobody else.
    ProbeAddress,
}

/// Who may ask, and over what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessConfig {
    /// Files and settings that hold keys and certificate.
    pub credentials: CredentialFiles,
    /// Time between two looks at the files of keys and certificate; none if nobody looks.
    pub reload_interval: Option<Duration>,
    /// Who may read `/metrics`.
    pub metrics: MetricsAccess,
    /// Quotas of single keys.
    pub quotas: Vec<(KeyName, Quota)>,
}

impl AccessConfig {
    pub(super) fn read(reader: &mut Reader, environment: &Environment) -> Self {
        let keys = KeySources {
            listed: reader.texts("access.keys"),
            file: path(reader.text("access.keys_file")),
            environment: environment.api_keys.clone(),
        };
        let (certificate, key) = (path(reader.text("tls.certificate")), path(reader.text("tls.key")));
        let certificate = match (certificate, key) {
            (Some(certificate), Some(key)) => Some(CertificateFiles { certificate, key }),
            (None, None) => None,
            (Some(_), None) => {
                reader.refuse("tls.key", Fault::NeededBy { other: "tls.certificate" });
                None
            }
            (None, Some(_)) => {
                reader.refuse("tls.certificate", Fault::NeededBy { other: "tls.key" });
                None
            }
        };
        let metrics = reader.choice("access.metrics", &METRICS_ACCESSES);
        if metrics == MetricsAccess::ProbeAddress && reader.text("server.probe_address").is_empty() {
            reader.refuse("server.probe_address", Fault::NeededBy { other: "access.metrics" });
        }
        let reload_interval = Duration::from_secs(reader.integer("access.reload_interval_s", 0..=86_400));
        let reload_interval = Some(reload_interval).filter(|interval| !interval.is_zero());
        Self { credentials: CredentialFiles { keys, certificate }, reload_interval, metrics, quotas: quotas(reader) }
    }
}

/// The quotas of single keys, each written as `NAME:TOKENS`.
fn quotas(reader: &mut Reader) -> Vec<(KeyName, Quota)> {
    let texts = reader.texts("access.quotas");
    let read = |text: &String| {
        let (name, tokens) = text.split_once(':')?;
        Some((KeyName::new(name)?, Quota { tokens_per_minute: tokens.parse().ok()? }))
    };
    let quotas: Option<Vec<_>> = texts.iter().map(read).collect();
    quotas.unwrap_or_else(|| {
        reader.refuse("access.quotas", Fault::NoQuota);
        Vec::new()
    })
}

fn path(text: String) -> Option<PathBuf> {
    (!text.is_empty()).then(|| text.into())
}
