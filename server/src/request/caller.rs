//! The caller of a request: decides whose turn it is, who gives way to whom, and which requests share encoded sources.
//!
//! Fixed when a call reserves its places in the engine's queue; every request of the call has the same.

use super::party::Party;
use super::priority::Priority;
use super::salt::Salt;

/// Identifies a call: the requests that one client makes at once. Calls take turns.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallId(pub u64);

/// The caller of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Caller {
    /// The call that the request is part of.
    pub call: CallId,
    /// The client that made the call. Clients have equal shares of the model.
    pub party: Party,
    /// Calls of the first priority come before all others.
    pub priority: Priority,
    /// Only requests with equal salts share encoded sources.
    pub salt: Salt,
}
