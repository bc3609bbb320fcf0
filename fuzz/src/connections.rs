//! Whatever a client writes to the socket: heads of requests, lengths of bodies, several requests in one piece.

use std::time::Duration;

use crate::running_server::write_and_leave;
use crate::seeds::seeds;
use crate::target::Target;

/// Bytes of a connection, after which the client closes its side.
pub const CONNECTIONS: Target =
    Target { name: "connections", seeds: || seeds("requests"), parse, patience: Duration::from_secs(20) };

fn parse(input: &[u8]) {
    let answer = write_and_leave(input);
    let is_answer = answer.is_empty() || answer.starts_with(b"HTTP/1.");
    assert!(is_answer, "no answer: {}", answer.escape_ascii());
    assert!(!answer.starts_with(b"HTTP/1.1 5"), "{}", answer.escape_ascii());
}
