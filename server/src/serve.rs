//! The server's life: answer from the first moment, and at the end let running answers finish.
//!
//! Called by the `serve` command and by tests. It knows connections and the order of goodbye, no requests.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::api::{Api, probe_router, router};
use crate::connection::{Connection, ConnectionTimeouts, Phase, PlaceLimits, Places, Purpose, Routes, TooManyOfPeer};
use crate::liveness::Liveness;
use crate::peer::Peer;
use crate::telemetry::Metrics;

/// So long may it take to tell clients that their answers are cut off. With it a server ends within a second of its
/// drain timeout.
const GOODBYE: Duration = Duration::from_millis(500);
/// So long nothing is accepted after a failure that the next attempt would meet as well.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// What a peer is told that has as many connections as it may.
const TOO_MANY_OF_PEER: &[u8] = b"HTTP/1.1 429 Too Many Requests\r\n\
    content-type: application/json\r\nretry-after: 1\r\nconnection: close\r\ncontent-length: 168\r\n\r\n\
    {\"error\":{\"message\":\"this address has as many connections as limits.connections_per_peer allows: use \
    fewer\",\"type\":\"rate_limit_error\",\"param\":null,\"code\":\"overloaded\"}}";

/// How many connections there may be, and how long one may keep the server waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// How many.
    pub places: PlaceLimits,
    /// How long.
    pub timeouts: ConnectionTimeouts,
}

/// What asked the process to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndSignal {
    /// SIGTERM: an orchestrator, which may still send requests for a while.
    Terminate,
    /// SIGINT: the keyboard.
    Interrupt,
    /// SIGHUP: the terminal is gone.
    Hangup,
}

impl std::fmt::Display for EndSignal {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Terminate => "SIGTERM",
            Self::Interrupt => "SIGINT",
            Self::Hangup => "SIGHUP",
        })
    }
}

/// Listens for what asks the process to end: SIGTERM, an interrupt from the keyboard, or the end of the terminal (SIGHUP).
#[derive(Debug)]
pub struct EndSignals {
    terminate: Signal,
    interrupt: Signal,
    /// Absent where whoever started the process had it ignored, as `nohup` does.
    hangup: Option<Signal>,
}

impl EndSignals {
    /// From now on they are waited for, and end nothing by themselves.
    ///
    /// # Errors
    /// When the system does not let the process listen to its signals.
    pub fn listen() -> io::Result<Self> {
        let hangup = (!ignores_hangup()).then(|| signal(SignalKind::hangup())).transpose()?;
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())?, hangup })
    }

    /// The next one.
    pub async fn next(&mut self) -> EndSignal {
        tokio::select! {
            _ = self.terminate.recv() => EndSignal::Terminate,
            _ = self.interrupt.recv() => EndSignal::Interrupt,
            () = next_of(self.hangup.as_mut()) => EndSignal::Hangup,
        }
    }
}

/// Ready with the next signal of this kind, never without one.
async fn next_of(signal: Option<&mut Signal>) {
    match signal {
        Some(signal) => _ = signal.recv().await,
        None => std::future::pending().await,
    }
}

/// Whether the process was started with SIGHUP ignored.
fn ignores_hangup() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default();
    mask & 1 << (SignalKind::hangup().as_raw_value() - 1) != 0
}

/// Sockets that are answered on. Dropping it closes them and, after the answers under way, the connections.
#[derive(Debug)]
pub struct Server {
    limits: ConnectionLimits,
    routes: watch::Sender<Routes>,
    /// Whatever is open holds a receiver.
    phase: watch::Sender<Phase>,
    liveness: Liveness,
    metrics: Metrics,
}

/// What a server has in common with what it answers from.
#[derive(Debug, Clone, Default)]
pub struct ServerShared {
    /// Where it says that it accepts connections.
    pub liveness: Liveness,
    /// Where it counts them.
    pub metrics: Metrics,
}

impl Server {
    /// Answers from `routes` on `listener`. Must be called within a runtime.
    pub fn start(listener: TcpListener, limits: ConnectionLimits, routes: Routes, shared: ServerShared) -> Self {
        let ServerShared { liveness, metrics } = shared;
        metrics.connections_limit.set(limits.places.connections as i64);
        let server =
            Self { limits, routes: watch::Sender::new(routes), phase: watch::Sender::default(), liveness, metrics };
        let accepting = server.accepting(listener, limits.places, Purpose::Requests);
        tokio::spawn(keep_accepting(accepting, server.liveness.clone()));
        server
    }

    /// Answers probes, and nothing else, on `listener` as well.
    pub fn probe(&self, listener: TcpListener) {
        let places = PlaceLimits { connections: self.limits.places.reserved.max(1), reserved: 0, ..self.limits.places };
        let accepting = self.accepting(listener, places, Purpose::Probes);
        tokio::spawn(keep_accepting(accepting, self.liveness.clone()));
    }

    fn accepting(&self, listener: TcpListener, places: PlaceLimits, purpose: Purpose) -> Accepting {
        Accepting {
            listener: Arc::new(listener),
            places: Places::new(places),
            timeouts: self.limits.timeouts,
            purpose,
            routes: self.routes.subscribe(),
            phase: self.phase.subscribe(),
            metrics: self.metrics.clone(),
        }
    }

    /// Answers every request from now on with `api`, on connections that are open already as well.
    pub fn open(&self, api: &Arc<Api>) {
        let routes = Routes { all: router(Arc::clone(api)), probes: probe_router(Arc::clone(api)) };
        let _loading = self.routes.send_replace(routes);
    }

    /// Says that it is not ready any more, and goes on as before; each answer from now on ends its connection.
    pub fn leave(&self) {
        self.liveness.leave();
        self.phase.send_replace(Phase::Leaving);
    }

    /// Shuts the engine's door and returns when no answer is being written any more.
    ///
    /// Until then new requests are still accepted, and answered with 503. When `patience` is over, or `hurry` is ready,
    /// the answers under way are cut off, which their clients are told, and this returns within half a second.
    pub async fn drain(self, api: &Api, patience: Duration, hurry: impl Future<Output = ()>) {
        self.leave();
        api.engine.drain();
        api.open_requests.drain();
        let mut impatient = pin!(async {
            tokio::select! {
                () = tokio::time::sleep(patience) => {}
                () = hurry => {}
            }
        });
        let mut finished = tokio::select! {
            () = api.open_requests.finished() => true,
            () = &mut impatient => false,
        };
        self.phase.send_replace(Phase::Closing);
        if finished {
            // Some clients may still have to receive what is written.
            finished = tokio::select! {
                () = self.phase.closed() => true,
                () = &mut impatient => false,
            };
        }
        if !finished {
            tracing::warn!(open = api.metrics.open_requests.get(), "cutting off what is still being answered");
            api.open_requests.cut_off();
            // Who does not take even this in time is left without.
            let _ = tokio::time::timeout(GOODBYE, self.phase.closed()).await;
        }
    }
}

/// A socket that is answered on.
#[derive(Debug, Clone)]
struct Accepting {
    listener: Arc<TcpListener>,
    places: Arc<Places>,
    timeouts: ConnectionTimeouts,
    /// What its connections may ask at most.
    purpose: Purpose,
    routes: watch::Receiver<Routes>,
    phase: watch::Receiver<Phase>,
    metrics: Metrics,
}

/// Accepts until the server closes, whatever happens: a task that failed is begun again.
async fn keep_accepting(accepting: Accepting, liveness: Liveness) {
    let _accepting = liveness.accepting();
    while tokio::spawn(accepting.clone().until_closing()).await.is_err() {
        tracing::error!("the task that accepts connections failed and is begun again");
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }
}

impl Accepting {
    async fn until_closing(self) {
        let mut phase = self.phase.clone();
        tokio::select! {
            () = self.accept() => {}
            _ = phase.wait_for(|phase| *phase == Phase::Closing) => {}
        }
    }

    async fn accept(&self) {
        loop {
            match self.listener.accept().await {
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
                let connection = Connection { stream, peer, place, timeouts: self.timeouts };
                let attended = connection.attend(self.routes.clone(), self.phase.clone());
                let open = self.metrics.count_connection();
                tokio::spawn(async move {
                    attended.await;
                    drop(open);
                });
            }
            Err(TooManyOfPeer) => {
                tracing::debug!(%peer, "a peer has as many connections as it may");
                // What the socket takes at once is all that is done for it.
                let _ = stream.try_write(TOO_MANY_OF_PEER);
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
