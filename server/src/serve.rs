//! The server's life: accept, and at shutdown let running answers finish.
//!
//! Called by the `serve` command and by tests. It knows connections and the order of goodbye, no requests.

use std::future::{Future, IntoFuture};
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use axum::serve::ListenerExt;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use crate::api::{Api, loading_router, router};

/// After the last answer is made, so long may slow clients take to receive it, and others to finish a request they began.
const CLOSING: Duration = Duration::from_secs(10);

/// Ready when the process is asked to end: SIGTERM, or an interrupt from the keyboard.
///
/// # Errors
/// When the system does not let the process listen to its signals.
pub fn termination() -> io::Result<impl Future<Output = ()> + Send + 'static> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => tracing::info!("asked to end: running answers are finished first"),
            _ = interrupt.recv() => tracing::info!("interrupted: running answers are finished first"),
        }
    })
}

/// While it lives, whoever asks is told that the model is still being loaded.
#[derive(Debug)]
pub struct Loading {
    _until: oneshot::Sender<()>,
}

impl Loading {
    /// Answers on `listener`'s socket, which stays open for [`serve`]. A probe that only waited could not tell a server
    /// that loads for minutes from one that hangs.
    ///
    /// # Errors
    /// When the system gives no second handle to the socket.
    pub async fn begin(listener: &TcpListener) -> io::Result<Self> {
        let socket = std::net::TcpListener::from(listener.as_fd().try_clone_to_owned()?);
        let listener = TcpListener::from_std(socket)?;
        let (until, loaded) = oneshot::channel::<()>();
        let loaded = async {
            // Only ever dropped.
            let _ = loaded.await;
        };
        tokio::spawn(axum::serve(listener, loading_router()).with_graceful_shutdown(loaded).into_future());
        Ok(Self { _until: until })
    }
}

/// Serves until `shutdown` is ready and the running answers are finished.
///
/// From then on the engine's door is shut: new requests are still accepted, and answered with 503, until no answer is
/// being written or `drain_timeout` is over. Then the listener closes; whatever still runs is cut off.
///
/// # Errors
/// None after the listener is bound: failures to accept are retried.
pub async fn serve(
    listener: TcpListener,
    api: Arc<Api>,
    drain_timeout: Duration,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    // A token is a few bytes; waiting to fill a packet would hold it back.
    let listener = listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection keeps small packets back");
        }
    });
    let (drained, closing) = oneshot::channel();
    let goodbye = {
        let api = Arc::clone(&api);
        async move {
            shutdown.await;
            api.engine.drain();
            let in_time = tokio::time::timeout(drain_timeout, api.open_requests.finished()).await.is_ok();
            if !in_time {
                tracing::warn!(open = api.metrics.open_requests.get(), "cutting off what is still being answered");
            }
            let _ = drained.send(in_time);
        }
    };
    let serving = axum::serve(listener, router(api)).with_graceful_shutdown(goodbye);
    let out_of_patience = async {
        if closing.await == Ok(true) {
            tokio::time::sleep(CLOSING).await;
        }
    };
    tokio::select! {
        served = serving => served,
        () = out_of_patience => Ok(()),
    }
}
