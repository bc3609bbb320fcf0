//! Which proxy a request goes through, by the rules of Python's programs.
//!
//! Used by `client`. The environment is read elsewhere: `config::Proxies` holds what it says.

use ureq::Proxy;

use super::address::Origin;
use super::error::HubError;
use crate::config::Proxies;

/// The proxy for requests to a server; none if it is asked directly.
///
/// # Errors
/// When the proxy is no address.
pub fn proxy_for(proxies: &Proxies, origin: &Origin) -> Result<Option<Proxy>, HubError> {
    let own = if origin.scheme == "https" { &proxies.https } else { &proxies.http };
    let Some(address) = own.as_ref().or(proxies.any.as_ref()).filter(|_| !is_exempt(&proxies.exempt, origin)) else {
        return Ok(None);
    };
    Proxy::new(address).map(Some).map_err(|_| HubError::NoProxy { scheme: origin.scheme.clone() })
}

/// Whether a list of names has this server: its host or a domain above it, with or without the port. An IPv6 address
/// needs no brackets there.
fn is_exempt(names: &str, Origin { host, port, .. }: &Origin) -> bool {
    let with_port = format!("{host}:{port}");
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    names.split(',').map(|name| name.trim().trim_start_matches('*').trim_start_matches('.')).any(|name| {
        let name = name.to_ascii_lowercase();
        let is_of = |host: &str| host.strip_suffix(&name).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
        !name.is_empty() && [host, bare, with_port.as_str()].into_iter().any(is_of)
    }) || names.trim() == "*"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies() -> Proxies {
        Proxies {
            https: Some("http://secure.example:1".to_owned()),
            http: None,
            any: Some("plain.example:2".to_owned()),
            exempt: "localhost, .in.example,*.wild.example,10.0.0.1,ported.example:8443".to_owned(),
        }
    }

    fn taken(proxies: &Proxies, url: &str) -> Option<String> {
        let proxy = proxy_for(proxies, &Origin::of(url).unwrap()).unwrap();
        proxy.map(|proxy| format!("{}:{}", proxy.host(), proxy.port()))
    }

    #[test]
    fn each_scheme_has_its_proxy_and_the_others_have_the_common_one() {
        assert_eq!(taken(&proxies(), "https://hub.example/a").as_deref(), Some("secure.example:1"));
        assert_eq!(taken(&proxies(), "http://hub.example/a").as_deref(), Some("plain.example:2"));
        let of_http = Proxies { https: None, any: None, http: Some("http://p".to_owned()), ..proxies() };
        assert_eq!(taken(&of_http, "https://hub.example"), None, "a proxy for http is none for https");
        assert_eq!(taken(&Proxies::default(), "https://hub.example"), None);
    }

    #[test]
    fn hosts_that_are_exempt_and_those_below_them_are_asked_directly() {
        for url in [
            "https://localhost:9/",
            "https://IN.example",
            "https://a.b.in.example",
            "https://x.wild.example",
            "http://10.0.0.1:80",
            "https://ported.example:8443",
        ] {
            assert_eq!(taken(&proxies(), url), None, "{url}");
        }
        for url in ["https://notin.example", "https://in.example.evil", "https://110.0.0.1", "https://ported.example"] {
            assert!(taken(&proxies(), url).is_some(), "{url}");
        }
        for exempt in ["::1", "[::1]", "[::1]:8443"] {
            let local = Proxies { exempt: exempt.to_owned(), ..proxies() };
            assert_eq!(taken(&local, "https://[::1]:8443"), None, "{exempt}");
            assert!(taken(&local, "https://[::2]:8443").is_some(), "{exempt}");
        }
        let none = Proxies { exempt: "*".to_owned(), ..proxies() };
        assert_eq!(taken(&none, "https://hub.example"), None);
        let all = Proxies { exempt: " , ".to_owned(), ..proxies() };
        assert!(taken(&all, "https://hub.example").is_some());
    }

    #[test]
    fn a_proxy_that_is_no_address_is_told_without_its_password() {
        let bad = Proxies { https: Some("gopher://me:secret@p".to_owned()), ..Proxies::default() };
        let said = proxy_for(&bad, &Origin::of("https://hub.example").unwrap()).unwrap_err().to_string();
        assert!(said.contains("HTTPS_PROXY") && !said.contains("secret"), "{said}");
        assert!(!format!("{bad:?}").contains("secret"), "{bad:?}");
    }
}
