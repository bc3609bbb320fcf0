//! A listening socket: accepts connections until the server closes, whatever happens to one of them.
//!
//! Started by `server`. It knows no requests.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::access::Certificate;
use crate::client_connection::{Connection, ConnectionTimeouts, Peer, Phase, Places, Purpose, Routes, TooManyOfPeer};
use crate::process::liveness::Liveness;
use crate::telemetry::Metrics;

/// Pause after a failure to accept that the next attempt would meet as well.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Answer to a peer that has as many connections as it may.
const TOO_MANY_OF_PEER: &[u8] = b"HTTP/1.1 429 Too Many Requests\r\n\
    content-type: application/json\r\nretry-after: 1\r\nconnection: close\r\ncontent-length: 168\r\n\r\n\
    {\"error\":{\"message\":\"this address has as many connections as limits.connections_per_peer allows: use \
    fewer\",\"type\":\"rate_limit_error\",\"param\":null,\"code\":\"overloaded\"}}";

/// A listening socket and what its connections need.
#[derive(Debug, Clone)]
pub struct Listener {
    pub socket: Arc<TcpListener>,
    pub places: Arc<Places>,
    pub timeouts: ConnectionTimeouts,
    /// Requests that its connections may send.
    pub purpose: Purpose,
    pub routes: watch::Receiver<Routes>,
    pub phase: watch::Receiver<Phase>,
    pub metrics: Metrics,
    /// The certificate, if it speaks TLS.
    pub certificate: Option<Certificate>,
}

/// Accepts until the server closes, whatever happens: a task that failed is begun again.
pub async fn keep_accepting(listener: Listener, liveness: Liveness) {
    let _accepting = liveness.accepting();
    while tokio::spawn(listener.clone().until_closing()).await.is_err() {
        tracing::error!("the task that accepts connections failed and is begun again");
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }
}

impl Listener {
    async fn until_closing(self) {
        let mut phase = self.phase.clone();
        tokio::select! {
            () = self.accept() => {}
            _ = phase.wait_for(|phase| *phase == Phase::Closing) => {}
        }
    }

    async fn accept(&self) {
        loop {
            match self.socket.accept().await {
                Ok((stream, peer)) => self.welcome(stream, peer).await,
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    // The system has no file descriptor, or no memory, for one more; some will be given back.
                    tracing::error!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn welcome(&self, stream: TcpStream, peer: SocketAddr) {
        match self.places.enter(Peer(peer)).await {
            Ok(place) => {
                let place = place.at_most(self.purpose);
                let tls = self.certificate.as_ref().map(Certificate::acceptor);
                let connection = Connection { stream, peer, place, timeouts: self.timeouts, tls };
                let attended = connection.attend(self.routes.clone(), self.phase.clone());
                let open = self.metrics.server().count_connection();
                tokio::spawn(async move {
                    attended.await;
                    drop(open);
                });
            }
            Err(TooManyOfPeer) => {
                tracing::debug!(%peer, "a peer has as many connections as it may");
                // What the socket takes at once is all that is done for it. Under TLS nobody could read it.
                if self.certificate.is_none() {
                    let _ = stream.try_write(TOO_MANY_OF_PEER);
                }
            }
        }
    }
}

/// Whether a connection ended before it was accepted, which says nothing about the next.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_peer_with_too_many_connections_is_told_is_a_whole_answer() {
        let text = std::str::from_utf8(TOO_MANY_OF_PEER).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("\r\ncontent-length: {}", body.len())), "{}", body.len());
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(body["error"]["code"], "overloaded");
    }
}
