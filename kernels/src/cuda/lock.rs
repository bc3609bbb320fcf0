//! Locking of state that a panic cannot leave wrong.
//!
//! Used by everything in `cuda` that shares state between calls.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks working memory or bookkeeping that is written anew before it is read, so a panic in between left nothing
/// wrong.
pub(super) fn locked<T>(state: &Mutex<T>) -> MutexGuard<'_, T> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
