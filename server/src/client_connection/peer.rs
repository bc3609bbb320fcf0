//! Who sent a request.
//!
//! A peer is put into a request's extensions where its connection is attended; read by `api`. A request that came on no
//! connection, as in tests, has none.

use std::net::{IpAddr, SocketAddr};

/// The client's end of the connection that a request came on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Peer(pub SocketAddr);

impl Peer {
    /// What limits of one peer go by: its address, or the network of 64 bits that an IPv6 address is one of, all of which
    /// its owner has.
    pub fn network(self) -> IpAddr {
        match self.0.ip().to_canonical() {
            IpAddr::V6(address) => IpAddr::V6((address.to_bits() & (u128::MAX << 64)).into()),
            address => address,
        }
    }
}
