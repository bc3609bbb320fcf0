//! One client's connection: its routes, its timeouts, and its end.
//!
//! Opened by `http_server`. It knows sockets and HTTP/1, no routes.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

use super::framing::HEAD_BYTES;
use super::guarded::Guarded;
use super::handshake::Handshake;
use super::held_body::held;
use super::life::ConnectionLife;
use super::pace::{Paced, WritePace};
use super::peer::Peer;
use super::places::{Idleness, Place, Purpose};

/// Timeout of a probe's head: a probe is sent in one piece, and there are few places for probes.
const PROBE_HEADER_TIMEOUT: Duration = Duration::from_secs(1);

/// Timeouts of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionTimeouts {
    /// Time from its opening to the end of its first request's head, and of the handshake of TLS before it.
    pub header: Duration,
    /// Time from the end of an answer to the end of the next request's head; at least `header`.
    pub keep_alive: Duration,
    /// Time for the client to take in what was written before more can be written.
    pub write: WritePace,
}

/// Routes that answer requests.
#[derive(Debug, Clone)]
pub struct Routes {
    /// All routes.
    pub all: Router,
    /// Routes for probes; any other path is answered that the server has no room.
    pub probes: Router,
    /// Routes of the second address, where there is one: probes and metrics, without keys.
    pub admin: Router,
}

/// Phase of a server's life.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Requests are answered, and connections stay open.
    #[default]
    Open,
    /// Requests are answered, each as the last one of its connection.
    Leaving,
    /// No request is read any more.
    Closing,
}

/// A connection that was accepted.
pub struct Connection {
    /// Its socket.
    pub stream: TcpStream,
    /// The client's end.
    pub peer: SocketAddr,
    /// Its place among all.
    pub place: Place,
    /// Its timeouts.
    pub timeouts: ConnectionTimeouts,
    /// TLS, unless it goes without.
    pub tls: Option<TlsAcceptor>,
}

impl Connection {
    /// Answers each request from the present value of `routes`, until the client leaves or takes too long. Once `phase`
    /// is [`Phase::Closing`] the answer under way is finished and no request is read after it.
    pub async fn attend(self, routes: watch::Receiver<Routes>, phase: watch::Receiver<Phase>) {
        let Self { stream, peer, place, timeouts, tls } = self;
        // A token is a few bytes; waiting to fill a packet would delay it.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection keeps small packets back");
        }
        let header_timeout = if place.purpose() == Purpose::Requests { timeouts.header } else { PROBE_HEADER_TIMEOUT };
        let first_head = Instant::now() + header_timeout;
        let stream = Paced::new(stream, timeouts.write);
        let attended = Attended { peer, place, keep_alive: timeouts.keep_alive, first_head, routes, phase };
        let Some(acceptor) = tls else { return attended.answer_on(stream).await };
        let (idleness, phase) = (attended.place.idleness(), attended.phase.clone());
        let shaken = Handshake { acceptor, timeout: header_timeout, idleness, phase }.with(stream).await;
        if let Some(stream) = shaken {
            attended.answer_on(stream).await;
        }
    }
}

/// A connection whose bytes are those of HTTP.
struct Attended {
    peer: SocketAddr,
    place: Place,
    /// Time from the end of an answer to the end of the next request's head.
    keep_alive: Duration,
    /// When the first request's head has to be there.
    first_head: Instant,
    routes: watch::Receiver<Routes>,
    phase: watch::Receiver<Phase>,
}

impl Attended {
    async fn answer_on(self, stream: impl AsyncRead + AsyncWrite + Unpin) {
        let Self { peer, place, keep_alive, first_head, routes, mut phase } = self;
        let life = ConnectionLife::default();
        let service = Service {
            routes,
            phase: phase.clone(),
            peer: Peer(peer),
            purpose: place.purpose(),
            life: life.clone(),
            idleness: Arc::clone(place.idleness()),
            was_asked: Arc::default(),
        };
        let was_asked = Arc::clone(&service.was_asked);
        let guarded = Guarded::new(stream, life, Some(Arc::clone(place.idleness())));
        let mut connection = pin!(
            http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(keep_alive)
                .max_buf_size(HEAD_BYTES)
                .keep_alive(place.purpose() == Purpose::Requests)
                // A client that closes its side counts as gone: this is how a whole answer is noticed to be unwanted.
                .half_close(false)
                .serve_connection(TokioIo::new(guarded), service_fn(move |request| service.answer(request)))
        );
        place.idleness().begin();
        let mut first_head = pin!(tokio::time::sleep_until(first_head));
        let (mut waiting, mut open) = (true, true);
        loop {
            tokio::select! {
                ended = &mut connection => {
                    if let Err(error) = ended {
                        tracing::debug!(%error, "a connection broke");
                    }
                    return;
                }
                () = &mut first_head, if waiting => waiting = false,
                // An error means that the server is gone, which closes the connection as well.
                _ = phase.wait_for(|phase| *phase == Phase::Closing), if open => {
                    open = false;
                    connection.as_mut().graceful_shutdown();
                }
                () = place.idleness().shed(), if open => {
                    open = false;
                    connection.as_mut().graceful_shutdown();
                }
            }
            // Nothing is owed to a client that has not managed to ask anything yet.
            let may_still_ask = waiting && open;
            if !may_still_ask && !was_asked.load(Ordering::Relaxed) {
                return;
            }
        }
    }
}

/// Answers the requests of one connection.
struct Service {
    routes: watch::Receiver<Routes>,
    phase: watch::Receiver<Phase>,
    peer: Peer,
    purpose: Purpose,
    life: ConnectionLife,
    idleness: Arc<Idleness>,
    was_asked: Arc<AtomicBool>,
}

impl Service {
    fn answer(
        &self,
        mut request: Request<Incoming>,
    ) -> impl Future<Output = Result<Response, std::convert::Infallible>> + use<> {
        self.was_asked.store(true, Ordering::Relaxed);
        self.idleness.end();
        // When the answer is written to its end, the connection is idle again.
        let answering = self.life.answering();
        request.extensions_mut().insert(self.peer);
        request.extensions_mut().insert(self.life.clone());
        let (router, request) = match self.purpose {
            Purpose::Requests => (self.routes.borrow().all.clone(), request.map(Body::new)),
            // No probe has a body, and nothing waits for one.
            Purpose::Probes => (self.routes.borrow().probes.clone(), request.map(|_| Body::empty())),
            Purpose::Admin => (self.routes.borrow().admin.clone(), request.map(|_| Body::empty())),
        };
        let phase = self.phase.clone();
        async move {
            let mut response = router.oneshot(request).await?;
            if *phase.borrow() > Phase::Open {
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            Ok(response.map(|body| held(body, answering)))
        }
    }
}
