//! Which clients share encoded sources: the making of a request's salt.
//!
//! Chosen in the settings, called by `api` for each request.

use std::net::IpAddr;

use crate::client_connection::Peer;
use crate::request::Salt;

/// Who shares the keys and values of equal sources.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SourceSharing {
    /// All requests with the same `cache_salt`, or without one.
    #[default]
    All,
    /// Requests from the same address with the same `cache_salt`, or without one.
    Peer,
}

impl SourceSharing {
    /// The salt that keeps a request's sources apart from those of others.
    pub fn salt(self, peer: Option<Peer>, cache_salt: Option<&str>) -> Salt {
        let address = match self {
            Self::All => None,
            Self::Peer => Some(peer.map(|peer| peer.0.ip().to_canonical())),
        };
        if address.is_none() && cache_salt.is_none() {
            return Salt::default();
        }
        // The first byte is the length of the address, so that a `cache_salt` cannot imitate one.
        let mut bytes = match address {
            None => vec![0],
            Some(None) => vec![1],
            Some(Some(IpAddr::V4(address))) => [&[4], address.octets().as_slice()].concat(),
            Some(Some(IpAddr::V6(address))) => [&[6], address.octets().as_slice()].concat(),
        };
        bytes.push(u8::from(cache_salt.is_some()));
        bytes.extend_from_slice(cache_salt.unwrap_or_default().as_bytes());
        Salt::of(&bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(address: &str) -> Option<Peer> {
        Some(Peer(address.parse().unwrap()))
    }

    #[test]
    fn without_a_salt_everybody_shares_and_with_one_those_who_know_it() {
        let salt = |address, cache_salt| SourceSharing::All.salt(peer(address), cache_salt);
        assert_eq!(salt("10.0.0.1:1", None), salt("10.0.0.2:1", None));
        assert_eq!(salt("10.0.0.1:1", None), Salt::default());
        assert_eq!(salt("10.0.0.1:1", Some("a")), salt("10.0.0.2:9", Some("a")));
        assert_ne!(salt("10.0.0.1:1", Some("a")), salt("10.0.0.1:1", Some("b")));
        assert_ne!(salt("10.0.0.1:1", Some("a")), Salt::default());
    }

    #[test]
    fn peers_are_told_apart_by_their_address_not_by_their_port() {
        let salt = |peer, cache_salt| SourceSharing::Peer.salt(peer, cache_salt);
        assert_eq!(salt(peer("10.0.0.1:1"), None), salt(peer("10.0.0.1:2"), None));
        assert_eq!(salt(peer("10.0.0.1:1"), None), salt(peer("[::ffff:10.0.0.1]:1"), None));
        let all = [
            salt(peer("10.0.0.1:1"), None),
            salt(peer("10.0.0.2:1"), None),
            salt(peer("[::1]:1"), None),
            salt(None, None),
            salt(peer("10.0.0.1:1"), Some("a")),
            salt(None, Some("a")),
            SourceSharing::All.salt(None, Some("\u{4}\n\0\0\u{1}\0")),
            SourceSharing::All.salt(None, None),
        ];
        for (index, one) in all.iter().enumerate() {
            assert!(all[..index].iter().all(|other| other != one), "{index}");
        }
    }

    #[test]
    fn a_salt_is_not_printed() {
        assert_eq!(format!("{:?}", SourceSharing::All.salt(None, Some("secret"))), "Salt(..)");
    }
}
