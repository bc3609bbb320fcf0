//! Who asks: what decides whose turn it is, and who shares encoded sources with whom.
//!
//! Fixed when a call reserves its places in the engine's queue; every request of the call has the same.

use super::salt::Salt;

/// Identifies a call: what one client asks at once, which may be several requests. Calls take turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallId(pub u64);

/// Who asks for a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The call that the request is part of.
    pub call: CallId,
    /// Only requests with equal salts share encoded sources.
    pub salt: Salt,
}
