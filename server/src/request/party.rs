//! The party of a request: all that come from one client, as far as the server can tell.
//!
//! Made by `source_sharing` from a request's sender, compared where clients take turns.

use std::sync::Arc;

/// Requests of one client have equal parties. The default is everybody of whom nothing is known.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Party(Option<Arc<[u8]>>);

impl Party {
    /// Everybody of whom nothing is known.
    pub const UNKNOWN: Self = Self(None);

    /// The party that consists of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Some(bytes.into()))
    }
}
