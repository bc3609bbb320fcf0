//! The server's life: answer from the first moment, and at the end let running answers finish.
//!
//! Called by the `serve` command and by tests. It knows connections and the order of goodbye, no requests.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::serve::Listener;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Semaphore, watch};

use crate::api::{Api, router};
use crate::connection::{ConnectionLimits, attend};
use crate::peer::Peer;

/// So long may it take to tell clients that their answers are cut off. With it a server ends within a second of its
/// drain timeout.
const GOODBYE: Duration = Duration::from_millis(500);

/// What asks the process to end: SIGTERM, or an interrupt from the keyboard.
#[derive(Debug)]
pub struct EndSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl EndSignals {
    /// From now on they are waited for, and end nothing by themselves.
    ///
    /// # Errors
    /// When the system does not let the process listen to its signals.
    pub fn listen() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// The next one's name.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// A socket that is answered on. Dropping it closes the socket and, after the answers under way, the connections.
#[derive(Debug)]
pub struct Server {
    routes: watch::Sender<Router>,
    /// True once no request is to be read any more. Whatever is open holds a receiver.
    closing: watch::Sender<bool>,
}

impl Server {
    /// Answers from `router` on `listener`. Must be called within a runtime.
    pub fn start(listener: TcpListener, limits: ConnectionLimits, router: Router) -> Self {
        let server = Self { routes: watch::Sender::new(router), closing: watch::Sender::new(false) };
        tokio::spawn(accept(listener, limits, server.routes.subscribe(), server.closing.subscribe()));
        server
    }

    /// Answers every request from now on with `api`, on connections that are open already as well.
    pub fn open(&self, api: &Arc<Api>) {
        let _loading = self.routes.send_replace(router(Arc::clone(api)));
    }

    /// Shuts the engine's door and returns when no answer is being written any more.
    ///
    /// Until then new requests are still accepted, and answered with 503. When `patience` is over, or `hurry` is ready,
    /// the answers under way are cut off, which their clients are told, and this returns within half a second.
    pub async fn drain(self, api: &Api, patience: Duration, hurry: impl Future<Output = ()>) {
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
        self.closing.send_replace(true);
        if finished {
            // Some clients may still have to receive what is written.
            finished = tokio::select! {
                () = self.closing.closed() => true,
                () = &mut impatient => false,
            };
        }
        if !finished {
            tracing::warn!(open = api.metrics.open_requests.get(), "cutting off what is still being answered");
            api.open_requests.cut_off();
            // Who does not take even this in time is left without.
            let _ = tokio::time::timeout(GOODBYE, self.closing.closed()).await;
        }
    }
}

async fn accept(
    mut listener: TcpListener,
    limits: ConnectionLimits,
    routes: watch::Receiver<Router>,
    mut closing: watch::Receiver<bool>,
) {
    let places = Arc::new(Semaphore::new(limits.connections));
    let of_all = closing.clone();
    let accepting = async {
        loop {
            let place = Arc::clone(&places).acquire_owned().await.expect("the semaphore is never closed");
            // Failures are retried in there.
            let (stream, address) = Listener::accept(&mut listener).await;
            let attended = attend((stream, Peer(address)), limits, routes.clone(), of_all.clone());
            tokio::spawn(async move {
                attended.await;
                drop(place);
            });
        }
    };
    tokio::select! {
        () = accepting => {}
        _ = closing.wait_for(|closing| *closing) => {}
    }
}
