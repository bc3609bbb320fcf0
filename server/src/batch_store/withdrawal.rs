//! Batches whose key is no longer valid: they fail at the next look, with the results that are there.
//!
//! Used by `runner` and `running`.

use super::batch_record::{BatchRecord, BatchStatus, LineFault};
use super::clock::now;
use super::error::StoreError;
use super::store::BatchStore;
use crate::access::Keys;
use crate::batch::Reason;

/// Why the requests that were not run have no answer.
pub const WITHDRAWN: Reason = Reason {
    code: "key_withdrawn",
    message: "This request was not executed because the key of its batch was withdrawn.",
};

/// Whether the key that a batch belongs to is none of those that are valid now. Where no keys are asked for, every
/// batch may run.
pub fn is_withdrawn(keys: &Keys, batch: &BatchRecord) -> bool {
    let (Some(owner), Some(ring)) = (&batch.owner, keys.present()) else { return false };
    !ring.names().any(|name| name.as_str() == owner)
}

/// Has a batch fail: at once if none of it was run, and otherwise once its results are put together.
///
/// # Errors
/// When the disk refuses.
pub fn withdraw(store: &BatchStore, batch: &BatchRecord) -> Result<(), StoreError> {
    let key = batch.owner.as_deref().unwrap_or_default();
    let message = format!("the key `{key}` was withdrawn");
    store.update(&batch.id, |batch| {
        let at = Some(now());
        match batch.status {
            BatchStatus::Validating => (batch.status, batch.failed_at) = (BatchStatus::Failed, at),
            BatchStatus::InProgress => (batch.status, batch.finalizing_at) = (BatchStatus::Finalizing, at),
            _ => return,
        }
        batch.errors = vec![LineFault { code: WITHDRAWN.code.to_owned(), message, line: None }];
    })?;
    Ok(())
}
