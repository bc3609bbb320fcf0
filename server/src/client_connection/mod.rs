//! A client's connection: its place among all, its HTTP/1 framing, its pace, and the answers written on it.
//!
//! Opened by `http_server`; `api` reads who is at the other end. Nothing here knows routes.

mod connection;
mod framing;
mod guarded;
mod handshake;
mod held_body;
mod life;
mod pace;
mod peer;
mod places;

pub use connection::{Connection, ConnectionTimeouts, Phase, Routes};
pub use framing::HEAD_BYTES;
pub use held_body::held;
pub use life::{Answering, ConnectionLife};
pub use pace::WritePace;
pub use peer::Peer;
pub use places::{Idleness, Place, PlaceLimits, Places, Purpose, TooManyOfPeer};
