//! Which clients share encoded sources: the making of a request's salt. Also who counts as one client.
//!
//! Chosen in the settings, called by `api` for each request.

use std::net::IpAddr;

use crate::access::KeyName;
use crate::client_connection::Peer;
use crate::request::{Party, Priority, Salt};

/// Who shares the keys and values of equal sources.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SourceSharing {
    /// All requests with the same `cache_salt`, or without one.
    #[default]
    All,
    /// Requests with the same API key and the same `cache_salt`, or without one.
    Key,
    /// Requests from the same address with the same `cache_salt`, or without one.
    Peer,
}

/// Who sent a request.
#[derive(Debug, Clone, Default)]
pub struct Client {
    /// The client's end of the connection.
    pub peer: Option<Peer>,
    /// Name of the API key, where there are keys.
    pub key: Option<KeyName>,
    /// Whether somebody waits for the answer.
    pub priority: Priority,
}

impl Client {
    /// The client's party: its API key; without one its address, or the network of an IPv6 address.
    pub fn party(&self) -> Party {
        match (&self.key, self.peer.map(Peer::network)) {
            (Some(key), _) => Party::of(&[b"key ", key.as_str().as_bytes()].concat()),
            (None, Some(network)) => Party::of(format!("network {network}").as_bytes()),
            (None, None) => Party::default(),
        }
    }
}

impl SourceSharing {
    /// The salt that keeps a request's sources apart from those of others.
    pub fn salt(self, client: &Client, cache_salt: Option<&str>) -> Salt {
        let party = self.party(client);
        if party == EVERYBODY && cache_salt.is_none() {
            return Salt::default();
        }
        let mut bytes = party;
        bytes.push(u8::from(cache_salt.is_some()));
        bytes.extend_from_slice(cache_salt.unwrap_or_default().as_bytes());
        Salt::of(&bytes)
    }

    /// The beginning of the salt. Its first bytes tell how many follow, so that a `cache_salt` cannot imitate one.
    fn party(self, client: &Client) -> Vec<u8> {
        let address = || client.peer.map(|peer| peer.0.ip().to_canonical());
        match self {
            Self::All => EVERYBODY.to_vec(),
            Self::Key => match &client.key {
                None => EVERYBODY.to_vec(),
                // A name has at most 64 bytes.
                Some(name) => [&[2, name.as_str().len() as u8], name.as_str().as_bytes()].concat(),
            },
            Self::Peer => match address() {
                None => vec![1],
                Some(IpAddr::V4(address)) => [&[4], address.octets().as_slice()].concat(),
                Some(IpAddr::V6(address)) => [&[6], address.octets().as_slice()].concat(),
            },
        }
    }
}

/// The party of all clients together.
const EVERYBODY: &[u8] = &[0];

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(address: &str) -> Client {
        Client { peer: Some(Peer(address.parse().unwrap())), ..Client::default() }
    }

    fn key(name: &str) -> Client {
        Client { key: KeyName::new(name), ..peer("10.0.0.1:1") }
    }

    #[test]
    fn without_a_salt_everybody_shares_and_with_one_those_who_know_it() {
        let salt = |address, cache_salt| SourceSharing::All.salt(&peer(address), cache_salt);
        assert_eq!(salt("10.0.0.1:1", None), salt("10.0.0.2:1", None));
        assert_eq!(salt("10.0.0.1:1", None), Salt::default());
        assert_eq!(salt("10.0.0.1:1", Some("a")), salt("10.0.0.2:9", Some("a")));
        assert_ne!(salt("10.0.0.1:1", Some("a")), salt("10.0.0.1:1", Some("b")));
        assert_ne!(salt("10.0.0.1:1", Some("a")), Salt::default());
    }

    #[test]
    fn keys_share_with_themselves_and_where_there_are_none_everybody_does() {
        let salt = |client: &Client, cache_salt| SourceSharing::Key.salt(client, cache_salt);
        assert_eq!(salt(&key("a"), None), salt(&Client { peer: None, ..key("a") }, None));
        assert_eq!(salt(&peer("10.0.0.1:1"), None), salt(&peer("10.0.0.2:1"), None));
        let all = [
            salt(&key("a"), None),
            salt(&key("ab"), None),
            salt(&key("a"), Some("b")),
            salt(&key("a"), Some("")),
            salt(&peer("10.0.0.1:1"), None),
            salt(&peer("10.0.0.1:1"), Some("\u{1}a\0")),
        ];
        for (index, one) in all.iter().enumerate() {
            assert!(all[..index].iter().all(|other| other != one), "{index}");
        }
    }

    #[test]
    fn peers_are_told_apart_by_their_address_not_by_their_port() {
        let salt = |client: Client, cache_salt| SourceSharing::Peer.salt(&client, cache_salt);
        assert_eq!(salt(peer("10.0.0.1:1"), None), salt(peer("10.0.0.1:2"), None));
        assert_eq!(salt(peer("10.0.0.1:1"), None), salt(peer("[::ffff:10.0.0.1]:1"), None));
        let all = [
            salt(peer("10.0.0.1:1"), None),
            salt(peer("10.0.0.2:1"), None),
            salt(peer("[::1]:1"), None),
            salt(Client::default(), None),
            salt(peer("10.0.0.1:1"), Some("a")),
            salt(Client::default(), Some("a")),
            SourceSharing::All.salt(&Client::default(), Some("\u{4}\n\0\0\u{1}\0")),
            SourceSharing::All.salt(&Client::default(), None),
        ];
        for (index, one) in all.iter().enumerate() {
            assert!(all[..index].iter().all(|other| other != one), "{index}");
        }
    }

    #[test]
    fn a_client_is_told_by_its_key_or_else_by_its_network() {
        assert_eq!(key("a").party(), Client { peer: None, ..key("a") }.party());
        assert_eq!(peer("10.0.0.1:1").party(), peer("[::ffff:10.0.0.1]:2").party());
        assert_eq!(peer("[2001:db8::1]:1").party(), peer("[2001:db8::2]:1").party());
        let all = [key("a"), key("b"), peer("10.0.0.1:1"), peer("10.0.0.2:1"), peer("[::1]:1"), Client::default()];
        for (index, one) in all.iter().enumerate() {
            assert!(all[..index].iter().all(|other| other.party() != one.party()), "{index}");
        }
    }

    #[test]
    fn a_salt_is_not_printed() {
        assert_eq!(format!("{:?}", SourceSharing::All.salt(&Client::default(), Some("secret"))), "Salt(..)");
    }
}
