//! The settings under `[hub]`: where checkpoints are fetched from and where they are kept.
//!
//! Read by `config`.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::reader::Reader;
use super::{Environment, Fault, Proxies};

/// Where checkpoints are fetched from and where they are kept. `config.toml` has the reasons.
#[derive(Debug, Clone, PartialEq)]
pub struct HubConfig {
    /// Folder of repositories, in the layout of huggingface_hub; none if neither a setting nor the environment names
    /// one.
    pub cache: Option<PathBuf>,
    /// Scheme and host, without a slash at the end.
    pub endpoint: String,
    /// Token that is sent to the endpoint, and nowhere else.
    pub token: Option<HubToken>,
    /// File with that token, which is read if there is no other.
    pub token_file: Option<PathBuf>,
    /// File of certificates against which the hub's is checked, in PEM form; Mozilla's roots if there is none.
    pub certificates: Option<PathBuf>,
    /// Proxies on the way.
    pub proxies: Proxies,
    /// Whether only files are used that are there already.
    pub offline: bool,
    /// Time for a connection, and for each piece of an answer.
    pub timeout: Duration,
    /// Attempts for each answer, the first one included.
    pub attempts: u32,
    /// Files that are fetched at once.
    pub downloads: usize,
}

/// A secret, which is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct HubToken(String);

impl HubToken {
    /// A token, without the space around it.
    pub fn new(text: &str) -> Self {
        Self(text.trim().to_owned())
    }

    /// The secret.
    pub fn secret(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for HubToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("HubToken(...)")
    }
}

impl HubConfig {
    pub(super) fn read(reader: &mut Reader, environment: &Environment) -> Self {
        let mut path = |key| Some(reader.text(key)).filter(|text| !text.is_empty()).map(PathBuf::from);
        let home = path("hub.home").or_else(|| environment.default_home.clone());
        let in_home = |name| home.as_ref().map(|home| home.join(name));
        let cache = path("hub.cache").or_else(|| in_home("hub"));
        let token_file = path("hub.token_file").or_else(|| in_home("token"));
        let certificates = path("hub.certificates");
        let endpoint = reader.text("hub.endpoint");
        if names_user(&endpoint) {
            reader.refuse("hub.endpoint", Fault::UserInUrl);
        } else if !["http://", "https://"].iter().any(|scheme| endpoint.starts_with(scheme)) {
            reader.refuse("hub.endpoint", Fault::NoUrl { value: endpoint.clone() });
        }
        Self {
            cache,
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            token: environment.token.clone(),
            token_file,
            certificates,
            proxies: environment.proxies.clone(),
            offline: reader.flag("hub.offline"),
            timeout: Duration::from_secs(reader.integer("hub.timeout_s", 1..=3600)),
            attempts: reader.integer("hub.attempts", 1..=100),
            downloads: reader.integer("hub.downloads", 1..=32),
        }
    }
}

/// Whether an address holds a user, and maybe a password, before its host.
pub(super) fn names_user(url: &str) -> bool {
    let behind_scheme = url.split_once("://").map_or(url, |(_, rest)| rest);
    behind_scheme.split(['/', '?', '#']).next().is_some_and(|authority| authority.contains('@'))
}
