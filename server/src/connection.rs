//! One client's connection: what it is answered from, how long it may keep the server waiting, and its end.
//!
//! Opened by `serve`. It knows sockets and HTTP/1, no routes.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tower::ServiceExt;

use crate::peer::Peer;

/// How many connections there may be, and how long one may say nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Open at once; further ones wait in the system's queue.
    pub connections: usize,
    /// From its opening to the end of its first request's head.
    pub header_timeout: Duration,
    /// From the end of an answer to the end of the next request's head; at least `header_timeout`.
    pub keep_alive_timeout: Duration,
}

/// Answers a client from what `routes` holds at each request, until it goes or takes too long. Once
/// `closing` is true the answer under way is finished and no request is read after it.
pub async fn attend(
    (stream, peer): (TcpStream, Peer),
    limits: ConnectionLimits,
    routes: watch::Receiver<Router>,
    mut closing: watch::Receiver<bool>,
) {
    // A token is a few bytes; waiting to fill a packet would hold it back.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection keeps small packets back");
    }
    let asked = Arc::new(AtomicBool::new(false));
    let has_asked = Arc::clone(&asked);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        asked.store(true, Ordering::Relaxed);
        let router = routes.borrow().clone();
        router.oneshot(request)
    });
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.keep_alive_timeout)
            // A client that closes its side is gone: that is how a whole answer is noticed to be wanted no more.
            .half_close(false)
            .serve_connection(TokioIo::new(stream), service)
    );
    let mut first_head = pin!(tokio::time::sleep(limits.header_timeout));
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
            // An error means that the server is gone, which closes it as well.
            _ = closing.wait_for(|closing| *closing), if open => {
                open = false;
                connection.as_mut().graceful_shutdown();
            }
        }
        // Nothing is owed to a client that has not managed to ask anything yet.
        let may_still_ask = waiting && open;
        if !may_still_ask && !has_asked.load(Ordering::Relaxed) {
            return;
        }
    }
}
