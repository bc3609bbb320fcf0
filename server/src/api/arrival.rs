//! The arrival of a request that the engine is to answer: its record in metrics and log.
//!
//! Used by the rooms that submit requests.

use axum::extract::Request;

use super::answers::RequestRecord;
use super::http::{RequestAccount, Visit};
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
