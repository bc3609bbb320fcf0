//! Refuses requests by their `Origin`, which tells the page that sends them, and by the `Host` they are for.
//!
//! Stands before all routes. Any page can have its reader's browser send requests to a server on the reader's machine
//! or network; the browser says in `Origin` which page it is. A page whose name is made to stand for another address
//! (DNS rebinding) is its own origin, but its `Host` is a name that is not this server's.

use std::collections::HashSet;
use std::net::IpAddr;

use axum::extract::Request;
use axum::http::HeaderValue;
use axum::http::header::{HOST, ORIGIN};
use axum::http::uri::Authority;

use super::error::ApiError;

/// Characters of a refused name that the client gets to see.
const SHOWN: usize = 100;

/// Hosts and origins whose requests are accepted.
#[derive(Debug, Clone, Default)]
pub struct Guard {
    hosts: Hosts,
    origins: Names,
    preflight: Preflight,
}

/// Answers to browsers that ask what a page of an allowed origin may send.
#[derive(Debug, Clone, Default)]
struct Preflight {
    /// Methods, separated by commas.
    methods: String,
    headers: Names,
}

/// Values of `Host` that are accepted.
#[derive(Debug, Clone, Default)]
enum Hosts {
    /// Anything.
    #[default]
    Any,
    /// Names of this machine, of a server that only this machine reaches, and those in the list.
    Loopback(Names),
    /// Any address, names of this machine, and those in the list. A name cannot be turned on a server that is asked by
    /// address.
    Listed(Names),
}

/// A list of names in lower case.
#[derive(Debug, Clone, Default)]
struct Names {
    any: bool,
    listed: HashSet<String>,
}

impl Names {
    fn new<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let listed: HashSet<_> =
            names.into_iter().map(|name| name.trim_end_matches('/').to_ascii_lowercase()).collect();
        Self { any: listed.contains("*"), listed }
    }

    fn hold(&self, name: &str) -> bool {
        self.any || self.listed.contains(&name.to_ascii_lowercase())
    }
}

/// Settings of a guard.
#[derive(Debug, Clone, Copy)]
pub struct GuardSettings<'a> {
    /// The address that the server listens on.
    pub bound: IpAddr,
    /// The name that it was given in the settings, which is its own.
    pub name: &'a str,
    /// Further hosts it may be asked for; `*` is any.
    pub allowed_hosts: &'a [String],
    /// Origins whose pages may ask; `*` is any.
    pub allowed_origins: &'a [String],
    /// Methods that those pages may use.
    pub allowed_methods: &'a [String],
    /// Headers that those pages may send; `*` is any.
    pub allowed_headers: &'a [String],
}

/// A page that may send requests.
pub enum Page {
    /// A page of this server itself, or no page at all.
    Own,
    /// A page of another origin, whose browser is told that it may read the answer.
    Allowed(HeaderValue),
}

impl Guard {
    /// The rules that follow from the settings.
    pub fn new(settings: GuardSettings<'_>) -> Self {
        let GuardSettings { bound, name, allowed_hosts, .. } = settings;
        let names = Names::new(allowed_hosts.iter().map(String::as_str).chain([name]));
        let hosts = match (bound.to_canonical().is_loopback(), allowed_hosts.is_empty()) {
            (true, _) => Hosts::Loopback(names),
            (false, true) => Hosts::Any,
            (false, false) => Hosts::Listed(names),
        };
        let listed = |names: &[String]| Names::new(names.iter().map(String::as_str));
        let preflight =
            Preflight { methods: settings.allowed_methods.join(", "), headers: listed(settings.allowed_headers) };
        Self { hosts, origins: listed(settings.allowed_origins), preflight }
    }

    /// Methods that pages of allowed origins may use, as a header lists them.
    pub fn allowed_methods(&self) -> &str {
        &self.preflight.methods
    }

    /// Filters the `asked` headers by those that such pages may send. Both lists are written as in a header.
    pub fn allowed_headers(&self, asked: &str) -> String {
        let asked = asked.split(',').map(str::trim).filter(|name| !name.is_empty());
        asked.filter(|name| self.preflight.headers.hold(name)).collect::<Vec<_>>().join(", ")
    }

    /// Decides whether a request may be answered.
    ///
    /// # Errors
    /// When its host or its origin is refused.
    pub fn admit(&self, request: &Request) -> Result<Page, ApiError> {
        let hosts = request.headers().get_all(HOST).iter().map(|host| host.to_str().unwrap_or_default());
        if let Some(host) = hosts.chain(request.uri().authority().map(Authority::as_str)).find(|host| !self.knows(host))
        {
            return Err(ApiError::ForeignHost { host: shown(host) });
        }
        let mut origins = request.headers().get_all(ORIGIN).iter();
        let Some(origin) = origins.next() else { return Ok(Page::Own) };
        let name = origin.to_str().unwrap_or_default();
        let foreign = || ApiError::ForeignOrigin { origin: shown(name) };
        if origins.next().is_some() {
            return Err(foreign());
        }
        if self.origins.any {
            return Ok(Page::Allowed(HeaderValue::from_static("*")));
        }
        if self.origins.hold(name) {
            return Ok(Page::Allowed(origin.clone()));
        }
        let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
        if self.is_own(name, host) { Ok(Page::Own) } else { Err(foreign()) }
    }

    /// Whether this server may be asked as `host`, with or without a port.
    fn knows(&self, host: &str) -> bool {
        let name = without_port(host);
        let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().ok();
        let is_here = match address {
            Some(address) => address.to_canonical().is_loopback(),
            None => name.trim_end_matches('.').eq_ignore_ascii_case("localhost"),
        };
        let listed = |names: &Names| names.hold(host) || names.hold(name);
        match &self.hosts {
            Hosts::Any => true,
            Hosts::Loopback(names) => is_here || listed(names),
            Hosts::Listed(names) => is_here || address.is_some() || listed(names),
        }
    }

    /// Whether a page comes from where it asks. Where any `Host` is taken, a name proves nothing; an address does.
    fn is_own(&self, origin: &str, host: Option<&str>) -> bool {
        let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        authority.zip(host).is_some_and(|(authority, host)| {
            authority.eq_ignore_ascii_case(host) && (!matches!(self.hosts, Hosts::Any) || is_no_foreign_name(host))
        })
    }
}

/// Whether no stranger's name server can make `host` stand for this server.
fn is_no_foreign_name(host: &str) -> bool {
    let name = without_port(host);
    let is_address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().is_ok();
    is_address || name.trim_end_matches('.').eq_ignore_ascii_case("localhost")
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !is_bare_ipv6(host) => name,
        _ => host,
    }
}

/// Whether it is an IPv6 address without the brackets that belong around it, in which a colon begins no port.
fn is_bare_ipv6(host: &str) -> bool {
    !host.starts_with('[') && host.matches(':').count() > 1
}

fn shown(name: &str) -> String {
    name.chars().take(SHOWN).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(bound: &str, allowed_hosts: &[&str]) -> Guard {
        let allowed_hosts: Vec<_> = allowed_hosts.iter().map(|host| (*host).to_owned()).collect();
        let bound = bound.parse().unwrap();
        Guard::new(GuardSettings {
            bound,
            name: "my-machine",
            allowed_hosts: &allowed_hosts,
            allowed_origins: &[],
            allowed_methods: &[],
            allowed_headers: &["authorization".to_owned(), "Content-Type".to_owned()],
        })
    }

    #[test]
    fn a_server_on_loopback_is_asked_by_names_of_this_machine_only() {
        for bound in ["127.0.0.1", "::1", "127.0.0.5", "::ffff:127.0.0.1"] {
            let guard = guard(bound, &["encdec.internal", "exact:8080"]);
            for host in [
                "localhost",
                "LOCALHOST:80",
                "localhost.:80",
                "127.0.0.1",
                "127.0.0.1:8080",
                "127.9.9.9:1",
                "[::1]",
                "[::1]:8080",
                "my-machine:80",
                "encdec.internal",
                "Encdec.Internal:443",
                "exact:8080",
            ] {
                assert!(guard.knows(host), "{host}");
            }
            for host in [
                "",
                "evil.example",
                "evil.example:8080",
                "localhost.evil.example",
                "127.0.0.1.evil.example",
                "10.0.0.1",
                "[::2]",
                "exact:8081",
                "evil.example:localhost",
                "0.0.0.0:8080",
            ] {
                assert!(!guard.knows(host), "{host}");
            }
        }
    }

    #[test]
    fn a_server_on_a_network_is_asked_by_any_name_unless_names_are_listed() {
        assert!(guard("0.0.0.0", &[]).knows("any.example"));
        let listed = guard("192.0.2.1", &["api.example"]);
        for host in ["api.example:443", "192.0.2.1:8080", "[2001:db8::1]:80", "localhost", "my-machine"] {
            assert!(listed.knows(host), "{host}");
        }
        assert!(!listed.knows("evil.example"));
        assert!(guard("127.0.0.1", &["*"]).knows("any.example"));
    }

    #[test]
    fn pages_may_send_the_headers_that_are_listed() {
        let guard = guard("127.0.0.1", &[]);
        assert_eq!(guard.allowed_headers("Authorization, x-odd,content-type"), "Authorization, content-type");
        assert_eq!(guard.allowed_headers(""), "");
    }

    #[test]
    fn a_page_of_this_server_is_no_stranger_where_hosts_are_checked() {
        let own = |guard: &Guard, origin| guard.is_own(origin, Some("localhost:8080"));
        assert!(own(&guard("127.0.0.1", &[]), "http://localhost:8080"));
        for origin in ["http://localhost", "http://localhost:80", "null", "file://", "http://evil.example"] {
            assert!(!own(&guard("127.0.0.1", &[]), origin), "{origin}");
        }
        let network = guard("0.0.0.0", &[]);
        for host in ["localhost:8080", "192.0.2.1:8080", "[2001:db8::1]:80"] {
            assert!(network.is_own(&format!("http://{host}"), Some(host)), "{host}");
        }
        // A name that is made to stand for this server's address sends both.
        assert!(!network.is_own("http://evil.example:8080", Some("evil.example:8080")));
    }
}
