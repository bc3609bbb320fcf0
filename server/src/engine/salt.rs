//! What keeps the sources of those apart who must not learn of each other.
//!
//! Made by `api`, compared by the scheduler.

use std::fmt;
use std::sync::Arc;

/// A source's keys and values are shared only under equal salts. They are compared whole, so that no salt can be found
/// that is mistaken for somebody else's. The default is shared by all who give none.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Salt(Option<Arc<[u8]>>);

impl Salt {
    /// The salt that consists of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Some(bytes.into()))
    }
}

/// A salt is a secret between a client and this server.
impl fmt::Debug for Salt {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(if self.0.is_some() { "Salt(..)" } else { "Salt" })
    }
}
