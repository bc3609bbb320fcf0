//! Memory of requests: bounds on all of them together, and on those of one peer.
//!
//! Used by `body` for large bodies and by `answer_budget` for answers. Whoever holds memory holds a share.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::client_connection::Peer;

/// Memory that all requests share. Clones are the same budget.
#[derive(Debug, Clone)]
pub struct Budget {
    used: Arc<Mutex<Used>>,
    limits: BudgetLimits,
}

/// Bounds of a budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BudgetLimits {
    /// Most bytes of all requests.
    pub bytes: usize,
    /// Most bytes of the requests from one peer.
    pub peer_bytes: usize,
}

#[derive(Debug, Default)]
struct Used {
    bytes: usize,
    peers: HashMap<IpAddr, usize>,
}

impl Budget {
    /// A budget of which nothing is held.
    pub fn new(limits: BudgetLimits) -> Self {
        Self { used: Arc::default(), limits }
    }

    /// Bytes that nobody holds.
    pub fn free_bytes(&self) -> usize {
        self.limits.bytes.saturating_sub(self.lock().bytes)
    }

    /// Bytes that are held.
    pub fn used_bytes(&self) -> usize {
        self.lock().bytes
    }

    /// A share of 0 bytes for a request of `peer`.
    pub fn share(&self, peer: Option<Peer>) -> Share {
        Share { budget: self.clone(), peer: peer.map(Peer::network), bytes: 0 }
    }

    /// The bounds.
    pub const fn limits(&self) -> BudgetLimits {
        self.limits
    }

    fn lock(&self) -> MutexGuard<'_, Used> {
        // Nothing that is done under this lock can be left half done.
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a share cannot grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// All requests together have as many bytes as they may.
    All {
        /// Allowed.
        limit: usize,
    },
    /// The requests of the peer have as many bytes as they may.
    Peer {
        /// Allowed.
        limit: usize,
    },
}

/// One request's bytes; given back when the share is dropped.
#[derive(Debug)]
pub struct Share {
    budget: Budget,
    peer: Option<IpAddr>,
    bytes: usize,
}

impl Share {
    /// Bytes of the share.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether [`Self::grow_to`] would succeed now.
    ///
    /// # Errors
    /// The error that it would return.
    pub fn check(&self, bytes: usize) -> Result<(), Full> {
        self.room(&self.budget.lock(), bytes)
    }

    /// Grows to `bytes`, if the share has less.
    ///
    /// # Errors
    /// When all, or those of its peer, leave too little.
    pub fn grow_to(&mut self, bytes: usize) -> Result<(), Full> {
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

    /// Sets the share to `bytes`, which are taken already, even when there is no room.
    pub fn settle(&mut self, bytes: usize) {
        let mut used = self.budget.lock();
        used.bytes = used.bytes - self.bytes + bytes;
        if let Some(peer) = self.peer {
            let of_peer = used.peers.entry(peer).or_default();
            *of_peer = *of_peer - self.bytes + bytes;
        }
        drop(used);
        self.bytes = bytes;
    }

    fn room(&self, used: &Used, bytes: usize) -> Result<(), Full> {
        let BudgetLimits { bytes: all, peer_bytes } = self.budget.limits;
        let more = bytes.saturating_sub(self.bytes);
        let of_peer = self.peer.and_then(|peer| used.peers.get(&peer)).copied().unwrap_or_default();
        match () {
            () if more > 0 && used.bytes + more > all => Err(Full::All { limit: all }),
            () if more > 0 && self.peer.is_some() && of_peer + more > peer_bytes => {
                Err(Full::Peer { limit: peer_bytes })
            }
            () => Ok(()),
        }
    }
}

impl Drop for Share {
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
    use std::net::SocketAddr;

    use super::*;

    #[test]
    fn a_peer_has_its_part_and_leaves_the_rest_to_others() {
        let budget = Budget::new(BudgetLimits { bytes: 100, peer_bytes: 60 });
        let [here, there] =
            ["10.0.0.1", "10.0.0.2"].map(|address| Some(Peer(SocketAddr::new(address.parse().unwrap(), 1))));
        let (mut first, mut second) = (budget.share(here), budget.share(here));
        first.grow_to(50).unwrap();
        assert_eq!(second.grow_to(20), Err(Full::Peer { limit: 60 }));
        let mut other = budget.share(there);
        other.grow_to(50).unwrap();
        assert_eq!(other.grow_to(51), Err(Full::All { limit: 100 }));
        drop(first);
        second.grow_to(20).unwrap();
        drop((second, other));
        assert_eq!((budget.free_bytes(), budget.lock().peers.len()), (100, 0));
    }
}
