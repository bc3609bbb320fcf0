//! Which model's metrics count a request: none in particular until its model is known.
//!
//! Made for every request by `visit`, assigned by the handler that learns the model.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::telemetry::RequestMetrics;

/// The metrics of one request. Clones are of the same request.
#[derive(Debug, Clone)]
pub struct RequestAccount(Arc<Mutex<Account>>);

#[derive(Debug)]
struct Account {
    metrics: Arc<RequestMetrics>,
    is_open: bool,
}

impl RequestAccount {
    /// An account with the metrics of requests without a model.
    pub fn new(without_model: &Arc<RequestMetrics>) -> Self {
        Self(Arc::new(Mutex::new(Account { metrics: Arc::clone(without_model), is_open: false })))
    }

    /// Counts the request for this model from now on.
    pub fn assign(&self, metrics: &Arc<RequestMetrics>) {
        let mut account = self.lock();
        if account.is_open {
            metrics.open_requests.inc();
            account.metrics.open_requests.dec();
        }
        account.metrics = Arc::clone(metrics);
    }

    /// Counts the request as open.
    pub fn open(&self) {
        let mut account = self.lock();
        account.is_open = true;
        account.metrics.open_requests.inc();
    }

    /// Counts the request as open no more.
    pub fn close(&self) {
        let mut account = self.lock();
        if std::mem::replace(&mut account.is_open, false) {
            account.metrics.open_requests.dec();
        }
    }

    /// The metrics that count the request now.
    pub fn metrics(&self) -> Arc<RequestMetrics> {
        Arc::clone(&self.lock().metrics)
    }

    fn lock(&self) -> MutexGuard<'_, Account> {
        // Nothing that is done under this lock can be left half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::{Metrics, Outcome};

    #[test]
    fn an_open_request_moves_to_its_model_and_is_counted_once() {
        let metrics = Metrics::of_models(&["a", "b"]);
        let account = RequestAccount::new(metrics.without_model());
        let b = metrics.model("b").requests;
        let open = || [&metrics.without_model().open_requests, &b.open_requests].map(|gauge| gauge.get());
        assert_eq!(open(), [0, 0]);
        account.open();
        assert_eq!(open(), [1, 0]);
        account.assign(&b);
        account.clone().assign(&b);
        assert_eq!(open(), [0, 1]);
        account.metrics().count_request(Outcome::Completed);
        assert_eq!((b.requests(Outcome::Completed), metrics.without_model().requests(Outcome::Completed)), (1, 0));
        account.close();
        account.close();
        assert_eq!(open(), [0, 0]);
    }
}
