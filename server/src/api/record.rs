//! What is counted of one HTTP completion request, from its arrival to its end.
//!
//! Held by `completions` and then by `completion`; a record that is dropped early means that the client went away.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::watch;

use super::error::ApiError;
use crate::engine::Refusal;
use crate::telemetry::{Metrics, Outcome};

/// The completion requests that are being answered.
#[derive(Debug, Clone, Default)]
pub struct OpenRequests {
    /// True once they are cut off. Every open request holds a receiver.
    cut: Arc<watch::Sender<bool>>,
}

impl OpenRequests {
    /// Returns when none is left.
    pub async fn finished(&self) {
        self.cut.closed().await;
    }

    /// Ends them all, and those to come: what is not answered yet ends with an error.
    pub fn cut_off(&self) {
        self.cut.send_replace(true);
    }
}

/// One request's times and outcome.
#[derive(Debug)]
pub struct RequestRecord {
    metrics: Metrics,
    arrived: Instant,
    first_token_seen: bool,
    outcome: Outcome,
    cut: watch::Receiver<bool>,
}

impl RequestRecord {
    /// A request has arrived.
    pub fn new(metrics: &Metrics, open: &OpenRequests) -> Self {
        metrics.open_requests.inc();
        Self {
            metrics: metrics.clone(),
            arrived: Instant::now(),
            first_token_seen: false,
            outcome: Outcome::Cancelled,
            cut: open.cut.subscribe(),
        }
    }

    /// A token was generated; `last` is when the choice's one before came.
    pub fn token(&mut self, last: &mut Option<Instant>) {
        let now = Instant::now();
        self.metrics.generated_tokens.inc();
        if !self.first_token_seen {
            self.first_token_seen = true;
            self.metrics.first_token_seconds.observe((now - self.arrived).as_secs_f64());
        }
        if let Some(before) = last.replace(now) {
            self.metrics.token_gap_seconds.observe((now - before).as_secs_f64());
        }
    }

    /// Source tokens that another request had encoded already.
    pub fn cached(&self, tokens: u32) {
        self.metrics.cached_source_tokens.inc_by(u64::from(tokens));
    }

    /// Returns when the request has to end unanswered, with what its client is to be told.
    pub async fn cut_off(&mut self) -> ApiError {
        if self.cut.wait_for(|cut| *cut).await.is_err() {
            // Nobody is left who could cut it off.
            std::future::pending::<()>().await;
        }
        Refusal::Draining.into()
    }

    /// The answer is complete.
    pub const fn complete(&mut self) {
        self.outcome = Outcome::Completed;
    }

    /// The request ends with `error`.
    pub fn fail(&mut self, error: &ApiError) {
        self.outcome = error.outcome();
        if self.outcome == Outcome::Failed {
            tracing::error!(%error, "a completion request failed");
        }
    }
}

impl Drop for RequestRecord {
    fn drop(&mut self) {
        self.metrics.open_requests.dec();
        self.metrics.count_request(self.outcome);
        if self.outcome == Outcome::Completed {
            self.metrics.request_seconds.observe(self.arrived.elapsed().as_secs_f64());
        }
    }
}
