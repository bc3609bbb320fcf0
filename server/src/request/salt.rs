//! The salt of a source: keeps apart callers who must not learn of each other's sources.
//!
//! Made by `api` from the request and its sender, compared by the scheduler.

use std::fmt;
use std::sync::Arc;

/// Keys and values of equal sources are shared only under equal salts. Salts are compared byte by byte, so that no
/// other salt can be mistaken for this one. The default salt is shared by all callers who give none.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Salt(Option<Arc<[u8]>>);

impl Salt {
    /// The salt that consists of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Some(bytes.into()))
    }
}

/// A salt is a secret between a client and this server, so its bytes are not shown.
impl fmt::Debug for Salt {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(if self.0.is_some() { "Salt(..)" } else { "Salt" })
    }
}
