//! The caller of a request: decides whose turn it is, and which requests share encoded sources.
//!
//! Fixed when a call reserves its places in the engine's queue; every request of the call has the same.

use super::salt::Salt;

/// Identifies a call: the requests that one client makes at once. Calls take turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallId(pub u64);

/// The caller of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The call that the request is part of.
    pub call: CallId,
    /// Only requests with equal salts share encoded sources.
    pub salt: Salt,
}
