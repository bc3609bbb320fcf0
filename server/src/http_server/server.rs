//! The server's life: it answers from the first moment, and at the end lets running answers finish.
//!
//! Called by the `serve` command and by tests. Knows connections and the order of shutdown, no requests.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;

use super::listener::{Listener, keep_accepting};
use crate::access::Certificate;
use crate::api::{Api, admin_router, probe_router, router};
use crate::client_connection::{ConnectionTimeouts, Phase, PlaceLimits, Places, Purpose, Routes};
use crate::process::liveness::Liveness;
use crate::telemetry::Metrics;

/// Time to tell clients that their answers are cut off. A server ends within a second of its drain timeout.
const GOODBYE: Duration = Duration::from_millis(500);

/// How many connections there may be, and how long one may keep the server waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Limits of their number.
    pub places: PlaceLimits,
    /// Limits of their waiting.
    pub timeouts: ConnectionTimeouts,
}

/// Listening sockets and their connections. Dropping the server closes the sockets and, after the answers under way,
/// the connections.
#[derive(Debug)]
pub struct HttpServer {
    limits: ConnectionLimits,
    routes: watch::Sender<Routes>,
    /// Whatever is open holds a receiver.
    phase: watch::Sender<Phase>,
    shared: ServerShared,
}

/// State that a server shares with its routes.
#[derive(Debug, Clone, Default)]
pub struct ServerShared {
    /// Tells whether connections are accepted.
    pub liveness: Liveness,
    /// Counts connections.
    pub metrics: Metrics,
    /// The certificate, of a server that speaks TLS.
    pub certificate: Option<Certificate>,
}

impl HttpServer {
    /// Answers from `routes` on `listener`. Must be called within a runtime.
    pub fn start(listener: TcpListener, limits: ConnectionLimits, routes: Routes, shared: ServerShared) -> Self {
        shared.metrics.server().connections_limit.set(limits.places.connections as i64);
        let server = Self { limits, routes: watch::Sender::new(routes), phase: watch::Sender::default(), shared };
        let accepting = server.accepting(listener, limits.places, Purpose::Requests);
        tokio::spawn(keep_accepting(accepting, server.shared.liveness.clone()));
        server
    }

    /// Answers probes and metrics, and nothing else, on `listener` as well, without TLS.
    pub fn probe(&self, listener: TcpListener) {
        let places = PlaceLimits { connections: self.limits.places.reserved.max(1), reserved: 0, ..self.limits.places };
        let accepting = self.accepting(listener, places, Purpose::Admin);
        tokio::spawn(keep_accepting(accepting, self.shared.liveness.clone()));
    }

    fn accepting(&self, listener: TcpListener, places: PlaceLimits, purpose: Purpose) -> Listener {
        Listener {
            socket: Arc::new(listener),
            places: Places::new(places),
            timeouts: self.limits.timeouts,
            purpose,
            routes: self.routes.subscribe(),
            phase: self.phase.subscribe(),
            metrics: self.shared.metrics.clone(),
            certificate: self.shared.certificate.clone().filter(|_| purpose == Purpose::Requests),
        }
    }

    /// Answers every request from now on with `api`, on connections that are open already as well.
    pub fn open(&self, api: &Arc<Api>) {
        let routes = Routes {
            all: router(Arc::clone(api)),
            probes: probe_router(Arc::clone(api)),
            admin: admin_router(Arc::clone(api)),
        };
        let _loading = self.routes.send_replace(routes);
    }

    /// Says that it is not ready any more, and goes on as before; each answer from now on ends its connection.
    pub fn leave(&self) {
        self.shared.liveness.leave();
        self.phase.send_replace(Phase::Leaving);
    }

    /// Makes the engines refuse new requests, and returns when no answer is being written any more.
    ///
    /// Until then new requests are still accepted, and answered with 503. When `patience` is over, or `hurry` is ready,
    /// the answers under way are cut off, which their clients are told, and this returns within half a second.
    pub async fn drain(self, api: &Api, patience: Duration, hurry: impl Future<Output = ()>) {
        self.leave();
        api.models.drain();
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
            tracing::warn!(open = api.open_requests.count(), "cutting off what is still being answered");
            api.open_requests.cut_off();
            // Who does not take even this in time is left without.
            let _ = tokio::time::timeout(GOODBYE, self.phase.closed()).await;
        }
    }
}
