//! A batch, as clients see it: OpenAI's fields.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use crate::batch_store::{BatchRecord, LineFault};

/// A batch.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Batch)]
pub struct BatchMessage {
    id: String,
    object: &'static str,
    endpoint: String,
    errors: Option<BatchErrors>,
    input_file_id: String,
    completion_window: String,
    status: &'static str,
    output_file_id: Option<String>,
    error_file_id: Option<String>,
    created_at: u64,
    in_progress_at: Option<u64>,
    expires_at: u64,
    finalizing_at: Option<u64>,
    completed_at: Option<u64>,
    failed_at: Option<u64>,
    expired_at: Option<u64>,
    cancelling_at: Option<u64>,
    cancelled_at: Option<u64>,
    request_counts: RequestCountsMessage,
    metadata: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = BatchErrors)]
struct BatchErrors {
    object: &'static str,
    data: Vec<BatchErrorMessage>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = BatchError)]
struct BatchErrorMessage {
    code: String,
    message: String,
    param: Option<String>,
    line: Option<u64>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = BatchRequestCounts)]
struct RequestCountsMessage {
    total: u64,
    completed: u64,
    failed: u64,
}

/// Some batches.
#[derive(Debug, Serialize, ToSchema)]
pub struct BatchList {
    object: &'static str,
    data: Vec<BatchMessage>,
    first_id: Option<String>,
    last_id: Option<String>,
    has_more: bool,
}

impl From<BatchRecord> for BatchMessage {
    fn from(batch: BatchRecord) -> Self {
        let counts = batch.counts;
        let error_of = |fault: LineFault| {
            let LineFault { code, message, line } = fault;
            BatchErrorMessage { code, message, param: None, line }
        };
        let errors = (!batch.errors.is_empty())
            .then(|| BatchErrors { object: "list", data: batch.errors.into_iter().map(error_of).collect() });
        Self {
            id: batch.id,
            object: "batch",
            endpoint: batch.endpoint,
            errors,
            input_file_id: batch.input_file_id,
            completion_window: batch.completion_window,
            status: batch.status.name(),
            output_file_id: batch.output_file_id,
            error_file_id: batch.error_file_id,
            created_at: batch.created_at,
            in_progress_at: batch.in_progress_at,
            expires_at: batch.expires_at,
            finalizing_at: batch.finalizing_at,
            completed_at: batch.completed_at,
            failed_at: batch.failed_at,
            expired_at: batch.expired_at,
            cancelling_at: batch.cancelling_at,
            cancelled_at: batch.cancelled_at,
            request_counts: RequestCountsMessage {
                total: counts.total,
                completed: counts.completed,
                failed: counts.failed,
            },
            metadata: batch.metadata,
        }
    }
}

impl BatchList {
    /// A page of batches, after which there are more or not.
    pub fn new(batches: Vec<BatchRecord>, has_more: bool) -> Self {
        let id = |batch: Option<&BatchRecord>| batch.map(|batch| batch.id.clone());
        let (first_id, last_id) = (id(batches.first()), id(batches.last()));
        let data = batches.into_iter().map(BatchMessage::from).collect();
        Self { object: "list", data, first_id, last_id, has_more }
    }
}
