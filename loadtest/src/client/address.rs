//! Addresses of servers.

use hyper::Uri;

use crate::error::LoadtestError;

/// The address of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Whether connections are encrypted.
    pub is_https: bool,
    /// Name or number of the host.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Path before that of the endpoint, without a slash at its end.
    pub prefix: String,
}

impl Address {
    /// Reads `http://host:port/prefix`. A `/v1` at its end is left out, because endpoints have it.
    ///
    /// # Errors
    /// A text that is no such address.
    pub fn parse(url: &str) -> Result<Self, LoadtestError> {
        let fault = |fault: &str| LoadtestError::Address { url: url.to_owned(), fault: fault.to_owned() };
        let uri: Uri = url.parse().map_err(|_| fault("write it as http://HOST:PORT"))?;
        let is_https = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(fault("it has to begin with http:// or https://")),
        };
        if uri.query().is_some() {
            return Err(fault("leave out what follows the question mark"));
        }
        let host = uri.host().ok_or_else(|| fault("it names no host"))?.to_owned();
        let port = uri.port_u16().unwrap_or(if is_https { 443 } else { 80 });
        let path = uri.path().trim_end_matches('/');
        let prefix = path.strip_suffix("/v1").unwrap_or(path).to_owned();
        Ok(Self { is_https, host, port, prefix })
    }

    /// The `Host` header: the port is left out where it is the usual one.
    pub fn authority(&self) -> String {
        let usual = if self.is_https { 443 } else { 80 };
        if self.port == usual { self.host.clone() } else { format!("{}:{}", self.host, self.port) }
    }

    /// The host without the brackets of an IPv6 number.
    pub fn host_name(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_host_a_port_and_perhaps_a_prefix() {
        let parts = |url: &str| {
            let address = Address::parse(url).unwrap();
            (address.authority(), address.port, address.prefix)
        };
        assert_eq!(parts("http://localhost:8080"), ("localhost:8080".into(), 8080, String::new()));
        assert_eq!(parts("http://localhost:8080/v1/"), ("localhost:8080".into(), 8080, String::new()));
        assert_eq!(parts("https://api.example/openai/v1"), ("api.example".into(), 443, "/openai".into()));
        assert_eq!(Address::parse("http://[::1]:9").unwrap().host_name(), "::1");
    }

    #[test]
    fn a_text_that_is_no_address_is_refused_with_a_remedy() {
        for (url, remedy) in
            [("localhost", "begin with http"), ("ftp://x", "begin with http"), ("http://x/?a", "question")]
        {
            let error = Address::parse(url).unwrap_err().to_string();
            assert!(error.contains(remedy), "{url}: {error}");
        }
    }
}
