//! Proxies that the environment names.
//!
//! Read by `environment`. Which of them a request goes through is decided in `hub`.

use std::fmt;

/// Proxies by the scheme of what is asked for. Their addresses may hold passwords and are never printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    /// For addresses that begin with http.
    pub http: Option<String>,
    /// For addresses that begin with https.
    pub https: Option<String>,
    /// For both, where they have none of their own.
    pub any: Option<String>,
    /// Hosts that are asked directly: names and domains, separated by commas.
    pub exempt: String,
}

impl Proxies {
    /// Reads what `variable` gives for a name. As in Python's programs, a name in small letters wins.
    pub(super) fn read(variable: impl Fn(&str) -> Option<String>) -> Self {
        let given = |name: &str| variable(name).or_else(|| variable(&name.to_uppercase()));
        let proxy = |name| given(name).filter(|address| !address.is_empty());
        Self {
            http: proxy("http_proxy"),
            https: proxy("https_proxy"),
            any: proxy("all_proxy"),
            exempt: given("no_proxy").unwrap_or_default(),
        }
    }
}

impl fmt::Debug for Proxies {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_set = |proxy: &Option<String>| proxy.is_some();
        let (http, https, any) = (is_set(&self.http), is_set(&self.https), is_set(&self.any));
        write!(formatter, "Proxies {{ http: {http}, https: {https}, any: {any}, exempt: {:?} }}", self.exempt)
    }
}
