//! The arrival of a request that the engine is to answer: its record in metrics and log, and its turn in the queue.
//!
//! Used by the rooms that submit requests.

use axum::extract::Request;
use tokio::time::Instant;

use super::answers::RequestRecord;
use super::http::{ApiError, RequestAccount, Visit};
use super::state::Api;
use crate::client_connection::ConnectionLife;

/// A request that has just arrived.
pub struct Arrival {
    /// Which model's metrics count it.
    pub account: RequestAccount,
    /// Its record.
    pub record: RequestRecord,
}

impl Arrival {
    /// Opens the record of a request.
    pub fn of(request: &Request, api: &Api) -> Self {
        let visit = request.extensions().get::<Visit>().cloned().unwrap_or_default();
        let life = request.extensions().get::<ConnectionLife>().cloned().unwrap_or_default();
        let account = request.extensions().get::<RequestAccount>().cloned();
        let account = account.unwrap_or_else(|| RequestAccount::new(api.entrance.metrics.without_model()));
        let record = RequestRecord::new(account.clone(), api.open_requests.open(), visit, life);
        Self { account, record }
    }
}

/// The result of `work`, of a request that got its places in the queue at `queued`.
///
/// # Errors
/// [`ApiError::QueuedTooLong`] when the request does not get its turn in time.
pub async fn in_time<T>(api: &Api, queued: Instant, work: impl Future<Output = T>) -> Result<T, ApiError> {
    let patience = api.limits.queue_timeout;
    let done = tokio::time::timeout_at(queued + patience, work).await;
    done.map_err(|_| ApiError::QueuedTooLong { seconds: patience.as_secs() })
}
