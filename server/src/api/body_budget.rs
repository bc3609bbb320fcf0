//! Memory of the large bodies under way: what all of them may take together, and those of one peer.
//!
//! Used by `body`. A share is held from a body's first bytes until it is parsed.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::error::ApiError;

/// What all large bodies may take. Clones share it.
#[derive(Debug, Clone)]
pub struct BodyBudget {
    used: Arc<Mutex<Used>>,
    limits: BodyBudgetLimits,
}

/// How much that is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyBudgetLimits {
    /// Bytes of all bodies.
    pub bytes: usize,
    /// Bytes of the bodies from one address.
    pub peer_bytes: usize,
}

#[derive(Debug, Default)]
struct Used {
    bytes: usize,
    peers: HashMap<IpAddr, usize>,
}

impl BodyBudget {
    /// Nothing held.
    pub fn new(limits: BodyBudgetLimits) -> Self {
        Self { used: Arc::default(), limits }
    }

    /// Bytes that no body holds.
    pub fn free_bytes(&self) -> usize {
        self.limits.bytes - self.lock().bytes
    }

    /// A share without a byte yet, for a body of `peer`.
    pub fn share(&self, peer: Option<IpAddr>) -> BodyShare {
        BodyShare { budget: self.clone(), peer, bytes: 0 }
    }

    fn lock(&self) -> MutexGuard<'_, Used> {
        // Nothing that is done under this lock can be left half done.
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One body's part; given back when it is dropped.
#[derive(Debug)]
pub struct BodyShare {
    budget: BodyBudget,
    peer: Option<IpAddr>,
    bytes: usize,
}

impl BodyShare {
    /// Bytes it has.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether [`Self::grow_to`] would succeed now.
    ///
    /// # Errors
    /// What it would say.
    pub fn check(&self, bytes: usize) -> Result<(), ApiError> {
        self.room(&self.budget.lock(), bytes)
    }

    /// Takes as much as a body of `bytes` needs.
    ///
    /// # Errors
    /// When all bodies, or those of its peer, leave too little.
    pub fn grow_to(&mut self, bytes: usize) -> Result<(), ApiError> {
        let mut used = self.budget.lock();
        self.room(&used, bytes)?;
        let more = bytes.saturating_sub(self.bytes);
        used.bytes += more;
        if let Some(peer) = self.peer {
            *used.peers.entry(peer).or_default() += more;
        }
        drop(used);
        self.bytes += more;
        Ok(())
    }

    fn room(&self, used: &Used, bytes: usize) -> Result<(), ApiError> {
        let BodyBudgetLimits { bytes: all, peer_bytes } = self.budget.limits;
        let more = bytes.saturating_sub(self.bytes);
        let of_peer = self.peer.and_then(|peer| used.peers.get(&peer)).copied().unwrap_or_default();
        match () {
            () if used.bytes + more > all => Err(ApiError::TooManyBodies { limit: all }),
            () if self.peer.is_some() && of_peer + more > peer_bytes => {
                Err(ApiError::TooManyBodiesOfPeer { limit: peer_bytes })
            }
            () => Ok(()),
        }
    }
}

impl Drop for BodyShare {
    fn drop(&mut self) {
        let mut used = self.budget.lock();
        used.bytes -= self.bytes;
        let Some(peer) = self.peer else { return };
        if let Some(of_peer) = used.peers.get_mut(&peer) {
            *of_peer -= self.bytes;
            if *of_peer == 0 {
                used.peers.remove(&peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_has_its_part_and_leaves_the_rest_to_others() {
        let budget = BodyBudget::new(BodyBudgetLimits { bytes: 100, peer_bytes: 60 });
        let [here, there] = ["10.0.0.1", "10.0.0.2"].map(|address| Some(address.parse().unwrap()));
        let (mut first, mut second) = (budget.share(here), budget.share(here));
        first.grow_to(50).unwrap();
        assert_eq!(second.grow_to(20), Err(ApiError::TooManyBodiesOfPeer { limit: 60 }));
        let mut other = budget.share(there);
        other.grow_to(50).unwrap();
        assert_eq!(other.grow_to(51), Err(ApiError::TooManyBodies { limit: 100 }));
        drop(first);
        second.grow_to(20).unwrap();
        drop((second, other));
        assert_eq!((budget.free_bytes(), budget.lock().peers.len()), (100, 0));
    }
}
