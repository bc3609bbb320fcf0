//! Batches that fail although their requests are sound: their key is no longer valid, or their file is gone. They keep
//! the results that are there.
//!
//! Used by `runner`, `running` and `ending`.

use std::time::Duration;

use super::batch_record::{BatchRecord, BatchStatus, LineFault};
use super::clock::now;
use super::error::StoreError;
use super::store::BatchStore;
use crate::access::Keys;
use crate::batch::Reason;

/// Time for which a key has to be missing until its batches fail. A list of keys that was read while it was half
/// written, or with a line too few, is put right within it, and the batches go on.
pub const WITHDRAWAL: Duration = Duration::from_secs(60);

/// Why the requests that were not run have no answer.
pub const WITHDRAWN: Reason = Reason {
    code: "key_withdrawn",
    message: "This request was not executed because the key of its batch was withdrawn.",
};

/// Whether the key of a batch is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyState {
    /// It is, or no keys are asked for.
    Valid,
    /// It is none of the keys that were read last.
    Missing,
    /// It has been missing for so long that this is no mistake.
    Withdrawn,
}

impl KeyState {
    /// The state of the key that a batch belongs to; `withdrawal` is [`WITHDRAWAL`] but in tests.
    pub fn of(batch: &BatchRecord, keys: &Keys, withdrawal: Duration) -> Self {
        let (Some(owner), Some(ring)) = (&batch.owner, keys.present()) else { return Self::Valid };
        if ring.names().any(|name| name.as_str() == owner) {
            Self::Valid
        } else if keys.age() < withdrawal {
            Self::Missing
        } else {
            Self::Withdrawn
        }
    }
}

/// Has a batch fail whose key was withdrawn: at once if none of it was run, and otherwise once its results are put
/// together.
///
/// # Errors
/// When the disk refuses.
pub fn withdraw(store: &BatchStore, batch: &BatchRecord) -> Result<(), StoreError> {
    let key = batch.owner.as_deref().unwrap_or_default();
    fail(store, batch, WITHDRAWN.code, format!("the key `{key}` was withdrawn"))
}

/// Has a batch fail whose file of requests is gone.
///
/// # Errors
/// When the disk refuses.
pub fn lose(store: &BatchStore, batch: &BatchRecord) -> Result<(), StoreError> {
    let file = &batch.input_file_id;
    tracing::error!(batch = batch.id, file, "the file of a batch is gone from the folder; the batch fails");
    let message = format!("the server has lost the file `{file}`; upload it again and ask for another batch");
    fail(store, batch, "file_lost", message)
}

fn fail(store: &BatchStore, batch: &BatchRecord, code: &str, message: String) -> Result<(), StoreError> {
    store.update(&batch.id, |batch| {
        let at = Some(now());
        match batch.status {
            BatchStatus::Validating => (batch.status, batch.failed_at) = (BatchStatus::Failed, at),
            BatchStatus::InProgress => (batch.status, batch.finalizing_at) = (BatchStatus::Finalizing, at),
            _ => return,
        }
        batch.errors = vec![LineFault { code: code.to_owned(), message, line: None }];
    })?;
    Ok(())
}
