//! The requests that are being answered, and how they learn that the server is about to end.
//!
//! Told by `http_server`; every request's record listens.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::watch;

use super::error::ApiError;
use crate::request::Refusal;

/// All requests that are being answered. Clones are of the same server.
#[derive(Debug, Clone, Default)]
pub struct OpenRequests {
    /// Every open request holds a receiver.
    ending: Arc<watch::Sender<Ending>>,
    count: Arc<AtomicUsize>,
}

/// How near the server's end is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Ending {
    /// Not in sight.
    #[default]
    Far,
    /// Requests that have not begun are refused.
    Draining,
    /// Requests that are not finished are cut off.
    Now,
}

async fn wait_for(ending: Ending, receiver: &mut watch::Receiver<Ending>) {
    if receiver.wait_for(|now| *now >= ending).await.is_err() {
        // Nobody is left who could end it.
        std::future::pending::<()>().await;
    }
}

impl OpenRequests {
    /// Counts a request as open until the result is dropped.
    pub fn open(&self) -> OpenRequest {
        self.count.fetch_add(1, Ordering::Relaxed);
        OpenRequest { ending: self.ending.subscribe(), count: Arc::clone(&self.count) }
    }

    /// Number of requests that are open.
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Returns when no request is open.
    pub async fn finished(&self) {
        self.ending.closed().await;
    }

    /// Tells requests that still wait for their bodies that they come too late.
    pub fn drain(&self) {
        self.ending.send_replace(Ending::Draining);
    }

    /// Ends all open requests and those to come: whatever is not answered yet ends with an error.
    pub fn cut_off(&self) {
        self.ending.send_replace(Ending::Now);
    }

    /// Returns once [`Self::drain`] was called.
    pub async fn draining(&self) {
        wait_for(Ending::Draining, &mut self.ending.subscribe()).await;
    }
}

/// A request that is being answered.
#[derive(Debug)]
pub struct OpenRequest {
    ending: watch::Receiver<Ending>,
    count: Arc<AtomicUsize>,
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
    }
}

impl OpenRequest {
    /// Returns when the request has to end unanswered, with the error for its client.
    pub async fn cut_off(&mut self) -> ApiError {
        wait_for(Ending::Now, &mut self.ending).await;
        Refusal::Draining.into()
    }
}
