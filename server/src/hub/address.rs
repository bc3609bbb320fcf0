//! Addresses of the web: whose server one leads to, and where a redirect does.
//!
//! Used by `client` and `proxy`.

use ureq::http::Uri;

/// The server of an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Scheme, http or https.
    pub scheme: String,
    /// Name or IP address, in lower case.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

impl Origin {
    /// The server that `url` leads to; none if it is no address with a host.
    pub fn of(url: &str) -> Option<Self> {
        let uri: Uri = url.parse().ok()?;
        let scheme = uri.scheme_str()?.to_ascii_lowercase();
        let port = uri.port_u16().unwrap_or(if scheme == "https" { 443 } else { 80 });
        Some(Self { scheme, host: uri.host()?.to_ascii_lowercase(), port })
    }
}

/// The address that a redirect at `url` leads to; none if it is not of HTTP, or leaves TLS.
pub fn redirected(url: &str, location: &str) -> Option<String> {
    if let Some(path) = location.strip_prefix('/') {
        let uri: Uri = url.parse().ok()?;
        let scheme = uri.scheme_str()?;
        // Two slashes begin another host on the same scheme.
        return Some(match path.strip_prefix('/') {
            Some(other) => format!("{scheme}://{other}"),
            None => format!("{scheme}://{}/{path}", uri.authority()?),
        });
    }
    let to = Origin::of(location)?;
    let is_as_safe = to.scheme == "https" || to.scheme == "http" && Origin::of(url)?.scheme == "http";
    is_as_safe.then(|| location.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_leads_where_it_says() {
        let from = "https://hub.example:8443/a/b?c=d";
        for (location, to) in [
            ("/x?y=z", Some("https://hub.example:8443/x?y=z")),
            ("//cdn.example/x", Some("https://cdn.example/x")),
            ("https://cdn.example/x", Some("https://cdn.example/x")),
            ("http://cdn.example/x", None),
            ("HTTP://hub.example:8443/x", None),
            ("file:///etc/passwd", None),
            ("x", None),
            ("https://", None),
        ] {
            assert_eq!(redirected(from, location).as_deref(), to, "{location}");
        }
        for to in ["http://cdn.example/x", "https://cdn.example/x"] {
            assert_eq!(redirected("http://mirror.example/a", to).as_deref(), Some(to));
        }
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        assert_eq!(Origin::of("https://Hub.example/a"), Origin::of("https://hub.example:443"));
        for other in
            ["http://hub.example", "https://hub.example:8443", "https://hub.example.evil", "https://cdn.hub.example"]
        {
            assert_ne!(Origin::of("https://hub.example"), Origin::of(other), "{other}");
        }
    }
}
