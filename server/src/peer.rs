//! Who sent a request.
//!
//! Put into a request's extensions where its connection is attended; read by `api`. A request that came on no
//! connection, as in tests, has none.

use std::net::SocketAddr;

/// The client's end of the connection that a request came on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Peer(pub SocketAddr);
