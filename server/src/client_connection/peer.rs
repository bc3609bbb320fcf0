//! The peer that sent a request.
//!
//! `connection` puts the peer into a request's extensions; `api` reads it. A request that came on no
//! connection, as in tests, has none.

use std::net::{IpAddr, SocketAddr};

/// The client's end of the connection that a request came on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Peer(pub SocketAddr);

impl Peer {
    /// Key of the limits per peer: the address, or the 64-bit network of an IPv6 address, all of which belongs to
    /// one owner.
    pub fn network(self) -> IpAddr {
        match self.0.ip().to_canonical() {
            IpAddr::V6(address) => IpAddr::V6((address.to_bits() & (u128::MAX << 64)).into()),
            address => address,
        }
    }
}
