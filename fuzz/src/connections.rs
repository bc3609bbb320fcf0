//! Whatever a client writes to the socket: heads of requests, lengths of bodies, several requests in one piece.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::running_server::server;
use crate::seeds::seeds;
use crate::target::Target;

/// Bytes of a connection, after which the client closes its side.
pub const CONNECTIONS: Target =
    Target { name: "connections", seeds: || seeds("requests"), parse, patience: Duration::from_secs(20) };

/// Longer than the server lets a connection rest.
const PATIENCE: Duration = Duration::from_secs(10);

fn parse(input: &[u8]) {
    let server = server();
    server.runtime.block_on(async {
        let mut stream = TcpStream::connect(server.address).await.expect("the server listens");
        // It may have closed already.
        let _ = stream.write_all(input).await;
        let _ = stream.shutdown().await;
        let mut answer = Vec::new();
        let read = timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
        assert!(read.is_ok(), "the server leaves the connection open");
        let is_answer = answer.is_empty() || answer.starts_with(b"HTTP/1.");
        assert!(is_answer, "no answer: {}", answer.escape_ascii());
        assert!(!answer.starts_with(b"HTTP/1.1 5"), "{}", answer.escape_ascii());
    });
}
