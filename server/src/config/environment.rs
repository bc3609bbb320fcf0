//! Variables of the environment that the settings know: a file of settings, API keys, and those of huggingface_hub, so
//! that both use the same files and take the same way.
//!
//! Filled by `main`, the only place that reads the environment.

use std::path::PathBuf;

use toml::{Table, Value};

use super::hub::HubToken;
use super::layers::Layer;
use super::proxies::Proxies;

/// Variables that are laid over `[hub]`; of several for a key the last one wins.
const HUB: [(&str, &str); 7] = [
    ("HF_HOME", "home"),
    ("HF_HUB_CACHE", "cache"),
    ("HF_ENDPOINT", "endpoint"),
    ("HF_TOKEN_PATH", "token_file"),
    ("SSL_CERT_FILE", "certificates"),
    ("CURL_CA_BUNDLE", "certificates"),
    ("REQUESTS_CA_BUNDLE", "certificates"),
];
/// Variables for staying offline, the first of which that is set counts.
const OFFLINE: [&str; 2] = ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"];
/// Variables in which `~` stands for the user's folder.
const PATHS: [&str; 3] = ["HF_HOME", "HF_HUB_CACHE", "HF_TOKEN_PATH"];
const CONFIG: &str = "ENCDEC_CONFIG";
const API_KEYS: &str = "ENCDEC_API_KEYS";
const TOKEN: &str = "HF_TOKEN";
/// Values that huggingface_hub takes for yes, in capitals.
const YES: [&str; 4] = ["1", "ON", "YES", "TRUE"];

/// Settings that the environment gives.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Environment {
    hub: Table,
    /// File of settings, which the file that a flag names is laid over.
    pub(super) config: Option<PathBuf>,
    /// Folder of the hub's files where no setting names one.
    pub(super) default_home: Option<PathBuf>,
    /// API keys, a text even if it is empty: a server that was meant to have keys must not start without any.
    pub(super) api_keys: Option<String>,
    /// Token for the hub.
    pub(super) token: Option<HubToken>,
    /// Proxies on the way to the hub.
    pub(super) proxies: Proxies,
}

impl Environment {
    /// Reads what `variable` gives for a name. An empty value counts as none.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Self {
        let given = |name: &str| variable(name).filter(|value| !value.is_empty());
        let own = given("HOME");
        let path = |name: &str| Some(in_home(given(name)?, own.as_deref()));
        let mut hub = Table::new();
        for (name, key) in HUB {
            let value = if PATHS.contains(&name) { path(name) } else { given(name) };
            if let Some(value) = value {
                hub.insert(key.to_owned(), Value::String(value));
            }
        }
        if let Some(value) = OFFLINE.into_iter().find_map(given) {
            hub.insert("offline".to_owned(), Value::Boolean(YES.contains(&value.to_uppercase().as_str())));
        }
        let cache = path("XDG_CACHE_HOME").map(PathBuf::from);
        let cache = cache.or_else(|| Some(PathBuf::from(own.as_deref()?).join(".cache")));
        let token = given(TOKEN).map(|token| HubToken::new(&token));
        let (default_home, api_keys) = (cache.map(|cache| cache.join("huggingface")), variable(API_KEYS));
        let config = given(CONFIG).map(PathBuf::from);
        Self { hub, config, default_home, api_keys, token, proxies: Proxies::read(variable) }
    }

    /// Settings that are laid over those of the file.
    pub(super) fn layer(&self) -> Layer {
        let mut table = Table::new();
        if !self.hub.is_empty() {
            table.insert("hub".to_owned(), Value::Table(self.hub.clone()));
        }
        Layer { origin: "environment".to_owned(), table }
    }
}

/// A path in which a `~` at the beginning is replaced by the user's folder.
fn in_home(path: String, own: Option<&str>) -> String {
    match (path.strip_prefix('~'), own) {
        (Some(rest), Some(own)) if rest.is_empty() || rest.starts_with('/') => format!("{own}{rest}"),
        _ => path,
    }
}
