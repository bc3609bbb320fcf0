//! The beginning of TLS on a connection: one handshake, which may take as long as the head of a first request.
//!
//! Called by `connection`. A connection that shakes hands occupies its place like an idle one: another may get it.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::connection::Phase;
use super::places::Idleness;

/// Bounds of a handshake.
pub(super) struct Handshake<'a> {
    /// TLS with the present certificate.
    pub acceptor: TlsAcceptor,
    /// Longest time.
    pub timeout: Duration,
    /// Idleness of the connection.
    pub idleness: &'a Arc<Idleness>,
    /// Phase of the server.
    pub phase: watch::Receiver<Phase>,
}

impl Handshake<'_> {
    /// Shakes hands; nothing comes of it when the client fails, is too slow or has to make room.
    pub async fn with<S: AsyncRead + AsyncWrite + Unpin>(mut self, stream: S) -> Option<TlsStream<S>> {
        self.idleness.begin();
        tokio::select! {
            shaken = self.acceptor.accept(stream) => match shaken {
                Ok(stream) => return Some(stream),
                Err(error) => tracing::debug!(%error, "a client could not begin TLS"),
            },
            () = tokio::time::sleep(self.timeout) => tracing::debug!("a client took too long to begin TLS"),
            _ = self.phase.wait_for(|phase| *phase == Phase::Closing) => {}
            () = self.idleness.shed() => {}
        }
        None
    }
}
